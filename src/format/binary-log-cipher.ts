/**
 * Decrypts events of a binary or relay log (MariaDB's log_event.cc, log_event_server.cc and its my_crypt.cc).
 *
 * Each event is encrypted by itself, but for its length. Its initialization vector is the log's nonce and the event's
 * offset. A call of the cipher takes longer than it takes to decrypt a short event, so that many events share one:
 *
 * - CBC: `IV, event's blocks, IV, next event's blocks, …` is decrypted as one text. A block is XORed with the block
 *   before it, which for an event's first block is its initialization vector. What the vectors themselves become is
 *   thrown away.
 * - CTR: the counters of all events are encrypted as one text.
 */
import { type Cipheriv, createCipheriv, createDecipheriv, type Decipheriv } from 'node:crypto';
import { release } from '../bytes.ts';
import { EVENT_LENGTH, TIME } from './binary-log-event.ts';
import { CIPHER_BLOCK, type DataKey } from './encryption-scheme.ts';

export const NONCE_BYTES = 12;
/** An event is encrypted from here to its end; its first bytes stand in the place of its length. */
const ENCRYPTED = 4;

export class BinaryLogCipher {
  readonly #nonce: Buffer;
  readonly #ecb: Cipheriv;
  /** Undefined: CTR. */
  readonly #cbc: Decipheriv | undefined;
  #scratch = Buffer.alloc(0);
  #view = new DataView(this.#scratch.buffer);

  constructor(nonce: Buffer, { bytes, algorithm }: DataKey) {
    const bits = bytes.length * 8;
    this.#nonce = nonce;
    this.#ecb = createCipheriv(`aes-${bits}-ecb`, bytes, null).setAutoPadding(false);
    if (algorithm === 'AES_CBC')
      this.#cbc = createDecipheriv(`aes-${bits}-cbc`, bytes, Buffer.alloc(CIPHER_BLOCK)).setAutoPadding(false);
  }

  /**
   * Decrypts whole events in place.
   * @param events one after the other, with right lengths
   * @param position the offset of the first in its file
   */
  decrypt(events: Buffer, position: number): void {
    const lengths: number[] = [];
    for (let at = 0, length = 0; at < events.length; at += length) {
      length = events.readUInt32LE(at + EVENT_LENGTH);
      lengths.push(length);
      events.copyWithin(at + EVENT_LENGTH, at + TIME, at + ENCRYPTED);
    }
    if (this.#cbc === undefined) this.#ctr(events, position, lengths);
    else this.#blocks(this.#cbc, events, position, lengths);
    let at = 0;
    for (const length of lengths) {
      events.copyWithin(at + TIME, at + EVENT_LENGTH, at + EVENT_LENGTH + ENCRYPTED);
      events.writeUInt32LE(length, at + EVENT_LENGTH);
      at += length;
    }
  }

  #blocks(cbc: Decipheriv, events: Buffer, position: number, lengths: readonly number[]): void {
    const vectors = this.#vectors(position, lengths);
    const text = this.#room(events.length + lengths.length * CIPHER_BLOCK);
    let [at, to] = [0, 0];
    for (const [index, length] of lengths.entries()) {
      const from = at + ENCRYPTED;
      const blocks = blockBytes(length);
      vectors.copy(text, to, index * CIPHER_BLOCK, (index + 1) * CIPHER_BLOCK);
      events.copy(text, to + CIPHER_BLOCK, from, from + blocks);
      to += CIPHER_BLOCK + blocks;
      at += length;
    }
    const clear = cbc.update(text.subarray(0, to));
    // Bytes that fill no block are XORed with the encrypted initialization vector.
    const masks = this.#ecb.update(vectors);
    [at, to] = [0, 0];
    for (const [index, length] of lengths.entries()) {
      const blocks = blockBytes(length);
      clear.copy(events, at + ENCRYPTED, to + CIPHER_BLOCK, to + CIPHER_BLOCK + blocks);
      const tail = at + ENCRYPTED + blocks;
      at += length;
      for (let byte = tail, mask = index * CIPHER_BLOCK; byte < at; byte += 1, mask += 1)
        events[byte] = (events[byte] ?? 0) ^ (masks[mask] ?? 0);
      to += CIPHER_BLOCK + blocks;
    }
    release(clear);
    release(masks);
  }

  #ctr(events: Buffer, position: number, lengths: readonly number[]): void {
    const counters = this.#room(events.length + lengths.length * CIPHER_BLOCK);
    const view = this.#view;
    let [at, to] = [0, 0];
    for (const length of lengths) {
      let [first, second, third] = [this.#word(0), this.#word(4), this.#word(8)];
      // The offset is little-endian, and the counter is big-endian.
      view.setUint32(to, (position + at) % 2 ** 32, true);
      let low = view.getUint32(to);
      for (const end = to + length - ENCRYPTED; to < end; to += CIPHER_BLOCK) {
        view.setUint32(to, first);
        view.setUint32(to + 4, second);
        view.setUint32(to + 8, third);
        view.setUint32(to + 12, low);
        low = (low + 1) >>> 0;
        if (low > 0) continue;
        third = (third + 1) >>> 0;
        if (third > 0) continue;
        second = (second + 1) >>> 0;
        if (second === 0) first = (first + 1) >>> 0;
      }
      at += length;
    }
    const stream = this.#ecb.update(counters.subarray(0, to));
    xorEvents(events, stream, lengths);
    release(stream);
  }

  #word(at: number): number {
    return this.#nonce.readUInt32BE(at);
  }

  /** Returns the initialization vectors of all events. */
  #vectors(position: number, lengths: readonly number[]): Buffer {
    const vectors = Buffer.allocUnsafe(lengths.length * CIPHER_BLOCK);
    let [at, to] = [position, 0];
    for (const length of lengths) {
      this.#nonce.copy(vectors, to);
      vectors.writeUInt32LE(at % 2 ** 32, to + NONCE_BYTES);
      at += length;
      to += CIPHER_BLOCK;
    }
    return vectors;
  }

  #room(bytes: number): Buffer {
    if (this.#scratch.length < bytes) {
      this.#scratch = Buffer.from(new ArrayBuffer(bytes));
      this.#view = new DataView(this.#scratch.buffer);
    }
    return this.#scratch;
  }
}

function blockBytes(eventLength: number): number {
  const encrypted = eventLength - ENCRYPTED;
  return encrypted - (encrypted % CIPHER_BLOCK);
}

/** @param stream each event's part begins at a multiple of a block */
function xorEvents(events: Buffer, stream: Buffer, lengths: readonly number[]): void {
  const clear = new DataView(events.buffer, events.byteOffset, events.length);
  const key = new DataView(stream.buffer, stream.byteOffset, stream.length);
  let [at, from] = [0, 0];
  for (const length of lengths) {
    const end = at + length;
    const part = from;
    for (at += ENCRYPTED; at + 4 <= end; at += 4, from += 4)
      clear.setUint32(at, clear.getUint32(at) ^ key.getUint32(from));
    for (; at < end; at += 1, from += 1) clear.setUint8(at, clear.getUint8(at) ^ key.getUint8(from));
    from = part + Math.ceil((length - ENCRYPTED) / CIPHER_BLOCK) * CIPHER_BLOCK;
  }
}
