import { wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';

/** The frame layer of docs/protocol.md: bytes to frames and back. */
export interface Frame {
  readonly type: number;
  /** 0 for a frame that is neither a request nor an answer. */
  readonly request: number;
  readonly payload: Buffer;
}

const LENGTH_BYTES = 4;
const HEADER_BYTES = 5;
/** Large enough for most frames, including those with a data key. */
const FIRST_BYTES = 64;
export const MAX_FRAME_BYTES = 16_384;

/** Turns a byte stream, in pieces of any size, into frames. It cannot be used after an error. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0);

  /** @throws KeyError PROTOCOL as soon as a length out of bounds has been seen */
  feed(chunk: Uint8Array): Frame[] {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      if (this.#pending.length < LENGTH_BYTES) return frames;
      const length = this.#pending.readUInt32BE(0);
      if (length < HEADER_BYTES || length > MAX_FRAME_BYTES) {
        throw new KeyError('PROTOCOL', `frame length expected ${HEADER_BYTES} to ${MAX_FRAME_BYTES}, got ${length}`);
      }
      const end = LENGTH_BYTES + length;
      if (this.#pending.length < end) return frames;
      frames.push({
        type: this.#pending.readUInt8(4),
        request: this.#pending.readUInt32BE(5),
        payload: Buffer.from(this.#pending.subarray(LENGTH_BYTES + HEADER_BYTES, end)),
      });
      this.#pending = this.#pending.subarray(end);
    }
  }

  /** True if the input so far ends inside a frame. */
  get isInsideFrame(): boolean {
    return this.#pending.length > 0;
  }
}

/** Reads the fields of one payload in order. `end()` throws if bytes are left. */
export class PayloadReader {
  readonly #bytes: Buffer;
  readonly #title: string;
  #offset = 0;

  constructor(title: string, bytes: Buffer) {
    this.#title = title;
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  bytes(length: number): Buffer {
    const start = this.#take(length);
    return Buffer.from(this.#bytes.subarray(start, start + length));
  }

  str(): string {
    const bytes = this.bytes(this.u16());
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new KeyError('PROTOCOL', `${this.#title}: a string is not UTF-8`, { cause });
    }
    if (text.includes('\0')) throw new KeyError('PROTOCOL', `${this.#title}: a string holds NUL`);
    return text;
  }

  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left > 0) throw new KeyError('PROTOCOL', `${this.#title}: ${left} bytes too many`);
  }

  #take(length: number): number {
    const start = this.#offset;
    if (length > this.#bytes.length - start) {
      throw new KeyError(
        'PROTOCOL',
        `${this.#title}: expected ${length} more bytes, got ${this.#bytes.length - start}`,
      );
    }
    this.#offset = start + length;
    return start;
  }
}

/** Writes the fields of one payload, one after the other. A start writes thousands, so no field allocates memory. */
export class PayloadWriter {
  #bytes = Buffer.alloc(FIRST_BYTES);
  #end = LENGTH_BYTES + HEADER_BYTES;

  u8(value: number): this {
    this.#makeRoom(1);
    this.#end = this.#bytes.writeUInt8(value, this.#end);
    return this;
  }

  u16(value: number): this {
    this.#makeRoom(2);
    this.#end = this.#bytes.writeUInt16BE(value, this.#end);
    return this;
  }

  u32(value: number): this {
    this.#makeRoom(4);
    this.#end = this.#bytes.writeUInt32BE(value, this.#end);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#makeRoom(value.length);
    this.#bytes.set(value, this.#end);
    this.#end += value.length;
    return this;
  }

  /** Text beyond `maxBytes` is cut at a character. NUL and line breaks, which the peer refuses, become spaces. */
  str(text: string, maxBytes = 4096): this {
    const clean = Buffer.from(text.toWellFormed().replace(/[\0\r\n]+/g, ' '));
    let end = Math.min(clean.length, maxBytes);
    while (end < clean.length && end > 0 && ((clean[end] ?? 0) & 0xc0) === 0x80) end -= 1;
    return this.u16(end).bytes(clean.subarray(0, end));
  }

  /** Returns one buffer, ready to send; no other buffer holds the data key. */
  toFrame(type: number, request: number): Buffer {
    const length = this.#end - LENGTH_BYTES;
    if (length > MAX_FRAME_BYTES) {
      const name = `frame 0x${type.toString(16)}`;
      throw new KeyError('INTERNAL', `${name}: expected at most ${MAX_FRAME_BYTES} bytes, got ${length}`);
    }
    this.#bytes.writeUInt32BE(length, 0);
    this.#bytes.writeUInt8(type, 4);
    this.#bytes.writeUInt32BE(request, 5);
    return this.#bytes.subarray(0, this.#end);
  }

  #makeRoom(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.alloc(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    wipe(this.#bytes);
    this.#bytes = larger;
  }
}
