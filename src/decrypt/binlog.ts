/** Decrypts a binary or relay log while it is read: the copy has the same events at the same positions. */
import { KeyError } from '../errors.ts';
import { BINARY_LOG_KEY_ID, isBinaryLog, type LogEncryption, parseLogEncryption } from '../format/binary-log.ts';
import { BinaryLogCipher } from '../format/binary-log-cipher.ts';
import {
  BINARY_LOG_MAGIC,
  EVENT_HEADER,
  EVENT_LENGTH,
  type EventRules,
  eventName,
  FLAGS,
  FORMAT_DESCRIPTION,
  IS_IGNORABLE,
  isHeader,
  isWholeEvent,
  MAX_EVENT,
  makeIgnorable,
  parseEventRules,
  START_ENCRYPTION,
  TYPE,
} from '../format/binary-log-event.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { isKeyVersion, keyId } from '../ids.ts';
import type { DataKeys } from './data-keys.ts';

type Keys = Pick<DataKeys, 'candidates' | 'place'>;

/** A log's bytes in their order. */
export interface LogInput {
  /** The name in messages. */
  readonly name: string;
  /** Reads what comes next, at least one byte; 0: the end. */
  read(into: Buffer): Promise<number>;
}

/** Takes the next bytes in clear, which are overwritten once the promise resolves. */
export type LogOutput = (bytes: Buffer) => Promise<void>;

export interface DecryptedLog {
  readonly events: number;
  /** Undefined: the log is not encrypted. */
  readonly version: number | undefined;
  /** Undefined: the log is not encrypted, or has no encrypted event. */
  readonly algorithm: EncryptionAlgorithm | undefined;
  /** The end of a log that is being written, or whose server was killed: part of an event, or zeros. */
  readonly unfinished: { readonly position: number; readonly bytes: number } | undefined;
  /** The first of them. */
  readonly damaged: readonly DamagedEvent[];
  readonly damagedEvents: number;
}

export interface DamagedEvent {
  readonly position: number;
  /** A sentence about the event and its damage, without the file. */
  readonly text: string;
}

/** Damaged events to keep: a log with a piece missing has no others behind it. */
const MOST_NAMED = 1_000;
/** Bytes to decrypt at once. The memory of larger ones goes back to the system and has to be had again each time. */
const CHUNK_BYTES = 2 ** 16;
/** The first encrypted events, which decide between CBC and CTR, and the most bytes of them. */
const [TRIED_EVENTS, TRIED_BYTES] = [16, 2 ** 20];
/** Bytes of a format description, which says how other events are checked. */
const MOST_DESCRIPTION = 2 ** 12;
/** Bytes of an event to the end of its first encrypted block. */
const HEADER_BLOCK = 20;

/**
 * Decrypts a log, or copies it if it is in clear, and checks each event.
 * @param output undefined: the events are only checked, and the result has all damaged ones
 * @throws KeyError for a file that is no log, for a key that is not there or does not fit, and with an `output` for the
 *   first damaged event
 */
export async function decryptLog(
  input: LogInput,
  keys: Keys,
  output: LogOutput | undefined,
  signal: AbortSignal,
): Promise<DecryptedLog> {
  const log = new LogDecryption(input.name, keys, output === undefined);
  let buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let end = 0;
  for (;;) {
    signal.throwIfAborted();
    const got = await input.read(buffer.subarray(end));
    end += got;
    const done = got === 0 ? 0 : await log.take(buffer.subarray(0, end));
    if (done > 0) await output?.(buffer.subarray(0, done));
    buffer.copyWithin(0, done, end);
    end -= done;
    if (log.isLost) return log.result(0);
    if (log.hasZeros) return log.result(await onlyZeros(input, log, buffer, end));
    // An event is longer than the buffer, which grows with what there really is of it.
    const isFull = end === buffer.length;
    if (got === 0 || isFull) await log.expectPart(buffer.subarray(0, end));
    if (log.isLost) return log.result(0);
    if (got === 0) return log.result(end);
    if (isFull) buffer = Buffer.concat([buffer], 2 * buffer.length);
  }
}

/** Returns the number of zeros to the end, after which a log must have nothing. */
async function onlyZeros(input: LogInput, log: LogDecryption, buffer: Buffer, end: number): Promise<number> {
  let zeros = 0;
  for (let got = end; got > 0; got = await input.read(buffer)) {
    if (buffer.subarray(0, got).some((byte) => byte !== 0)) {
      log.lose('it has no length');
      return 0;
    }
    zeros += got;
  }
  return zeros;
}

class LogDecryption {
  readonly #name: string;
  readonly #keys: Keys;
  readonly #goesOn: boolean;
  readonly #damaged: DamagedEvent[] = [];
  #damagedEvents = 0;
  /** The offset in the file of what `take` gets next. */
  #position = 0;
  #events = 0;
  /** Undefined before the format description, which comes first. */
  #rules: EventRules | undefined;
  #encryption: LogEncryption | undefined;
  #cipher: BinaryLogCipher | undefined;
  #algorithm: EncryptionAlgorithm | undefined;
  /** True: the place of the next event has zeros, as after a crash of the machine. */
  hasZeros = false;
  /** True: nothing after the last event that is done can be read, or is to be. */
  isLost = false;
  #failure: KeyError | undefined;

  constructor(name: string, keys: Keys, goesOn: boolean) {
    this.#name = name;
    this.#keys = keys;
    this.#goesOn = goesOn;
  }

  /**
   * Decrypts in place what is whole at the beginning of the bytes that come next.
   * @returns how many bytes are done
   */
  async take(bytes: Buffer): Promise<number> {
    let done = 0;
    if (this.#position === 0) {
      if (bytes.length < BINARY_LOG_MAGIC.length) return 0;
      this.#expectMagic(bytes);
      done = BINARY_LOG_MAGIC.length;
      this.#position = done;
    }
    for (;;) {
      const events = this.#wholeEvents(bytes.subarray(done));
      if (events.length === 0 || this.isLost) return done;
      const part = this.#encryption === undefined ? this.#takeClear(events) : await this.#takeEncrypted(events);
      done += part;
      this.#position += part;
    }
  }

  /**
   * Loses the log at an event that is not there in full, unless its header agrees with its length.
   * @param bytes the beginning of the event
   */
  async expectPart(bytes: Buffer): Promise<void> {
    if (bytes.length <= EVENT_HEADER || this.#position === 0) return;
    const length = bytes.readUInt32LE(EVENT_LENGTH);
    const rules = this.#rules;
    const isRight = (header: Buffer): boolean =>
      rules === undefined ? length <= MOST_DESCRIPTION : isHeader(header, length, rules, this.#position);
    if ((await this.#headers(bytes)).some(isRight)) return;
    this.lose(`its header contradicts its length of ${length} bytes`);
  }

  /** Returns the header of an event that is not there in full; before the cipher is chosen, that of each candidate. */
  async #headers(bytes: Buffer): Promise<readonly Buffer[]> {
    if (this.#encryption === undefined) return [bytes];
    const { nonce } = this.#encryption;
    const ciphers =
      this.#cipher === undefined
        ? (await this.#candidates()).map((key) => new BinaryLogCipher(nonce, key))
        : [this.#cipher];
    return ciphers.map((cipher) => {
      // The first block of an event does not depend on its length.
      const header = Buffer.from(bytes.subarray(0, HEADER_BLOCK));
      header.writeUInt32LE(HEADER_BLOCK, EVENT_LENGTH);
      cipher.decrypt(header, this.#position);
      return header;
    });
  }

  /**
   * @param unfinished bytes at the end that are no whole event
   * @throws KeyError for the damaged event that ended the work
   */
  result(unfinished: number): DecryptedLog {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#position === 0) this.#expectMagic(Buffer.alloc(0));
    return {
      events: this.#events,
      version: this.#encryption?.version,
      algorithm: this.#algorithm,
      unfinished: unfinished === 0 ? undefined : { position: this.#position, bytes: unfinished },
      damaged: this.#damaged,
      damagedEvents: this.#damagedEvents,
    };
  }

  /** Notes that the next event cannot be read. */
  lose(reason: string): void {
    this.isLost = true;
    this.#note(this.#position, `the event at ${this.#position} is damaged: ${reason}`);
  }

  #expectMagic(bytes: Buffer): void {
    if (isBinaryLog(bytes)) return;
    throw new KeyError('DATA_UNREADABLE', `${this.#name}: it is no binary log`);
  }

  /** Returns the events at the beginning that are there in full. */
  #wholeEvents(bytes: Buffer): Buffer {
    let end = 0;
    while (end + EVENT_HEADER <= bytes.length) {
      const length = bytes.readUInt32LE(end + EVENT_LENGTH);
      const isRight = length >= EVENT_HEADER && length <= MAX_EVENT;
      if (isRight && end + length <= bytes.length) end += length;
      else if (isRight || end > 0) break;
      else if (bytes.subarray(0, EVENT_HEADER).every((byte) => byte === 0)) return this.#meetZeros(bytes);
      else {
        this.lose(`a length of ${length} bytes`);
        break;
      }
    }
    return bytes.subarray(0, end);
  }

  #meetZeros(bytes: Buffer): Buffer {
    this.hasZeros = true;
    return bytes.subarray(0, 0);
  }

  /** Checks events until the encryption starts. */
  #takeClear(events: Buffer): number {
    let done = 0;
    while (done < events.length && this.#encryption === undefined && !this.isLost) done += this.#check(events, done);
    return done;
  }

  async #takeEncrypted(events: Buffer): Promise<number> {
    this.#cipher ??= await this.#chooseCipher(events);
    this.#cipher.decrypt(events, this.#position);
    let done = 0;
    while (done < events.length && !this.isLost) done += this.#check(events, done);
    return done;
  }

  /**
   * Checks an event in clear, and makes one that starts the encryption ignorable.
   * @returns its length; 0: the work ends before it
   */
  #check(events: Buffer, at: number): number {
    const length = events.readUInt32LE(at + EVENT_LENGTH);
    const event = events.subarray(at, at + length);
    const position = this.#position + at;
    const type = event[TYPE];
    if (this.#rules === undefined || type === FORMAT_DESCRIPTION) this.#describe(event);
    if (this.#rules === undefined || !isWholeEvent(event, this.#rules, position)) this.#noteDamage(event, position);
    else if (type === START_ENCRYPTION) this.#start(event, this.#rules);
    if (this.isLost) return 0;
    this.#events += 1;
    return length;
  }

  #describe(event: Buffer): void {
    const rules = event[TYPE] === FORMAT_DESCRIPTION ? parseEventRules(event) : undefined;
    if (rules !== undefined) this.#rules = { ...rules, isRelayLog: this.#rules?.isRelayLog ?? rules.isRelayLog };
  }

  /** A source sends its own start of encryption to its replicas with the flag that it is to be ignored. */
  #start(event: Buffer, rules: EventRules): void {
    if (this.#encryption === undefined && (event.readUInt16LE(FLAGS) & IS_IGNORABLE) === 0) {
      this.#encryption = parseLogEncryption(event);
      if (this.#encryption === undefined)
        throw new KeyError('DATA_UNREADABLE', `${this.#name}: its encryption scheme is not known`);
    }
    makeIgnorable(event, rules);
  }

  /** Finds out which of the candidates makes most events right. */
  async #chooseCipher(events: Buffer): Promise<BinaryLogCipher> {
    const { version = 0, nonce = Buffer.alloc(0) } = this.#encryption ?? {};
    const candidates = await this.#candidates();
    const key = `key ${BINARY_LOG_KEY_ID} version ${version}`;
    let best: { readonly cipher: BinaryLogCipher; readonly right: number } | undefined;
    for (const candidate of candidates) {
      const cipher = new BinaryLogCipher(nonce, candidate);
      const right = this.#countRight(cipher, firstEvents(events));
      if (right > (best?.right ?? 0)) {
        best = { cipher, right };
        this.#algorithm = candidate.algorithm;
      }
    }
    if (best !== undefined) return best.cipher;
    throw new KeyError(
      'DATA_UNREADABLE',
      `${this.#name}: the events from ${this.#position} on do not decrypt with ${key}`,
      {
        hint: `the log is damaged there, or ${this.#keys.place} has another key than the server that wrote it`,
      },
    );
  }

  async #candidates(): Promise<Awaited<ReturnType<Keys['candidates']>>> {
    const { version = 0 } = this.#encryption ?? {};
    const found = isKeyVersion(version) ? await this.#keys.candidates(keyId(BINARY_LOG_KEY_ID), version) : [];
    if (found.length > 0) return found;
    const key = `key ${BINARY_LOG_KEY_ID} version ${version}`;
    throw new KeyError('KEY_UNKNOWN', `${this.#name}: ${key}: ${this.#keys.place} has no such key`);
  }

  #countRight(cipher: BinaryLogCipher, events: Buffer): number {
    cipher.decrypt(events, this.#position);
    let right = 0;
    const rules = this.#rules;
    for (let at = 0; at < events.length && rules !== undefined; at += events.readUInt32LE(at + EVENT_LENGTH)) {
      const event = events.subarray(at, at + events.readUInt32LE(at + EVENT_LENGTH));
      if (isWholeEvent(event, rules, this.#position + at)) right += 1;
    }
    events.fill(0);
    return right;
  }

  #noteDamage(event: Buffer, position: number): void {
    const type = event[TYPE] ?? 0;
    const key =
      this.#encryption === undefined ? 'in clear' : `key ${BINARY_LOG_KEY_ID} version ${this.#encryption.version}`;
    const facts = [`${eventName(type) ?? 'no known'} type ${type}`, `${event.length} bytes`, key].join(', ');
    const reason = this.#rules?.hasChecksums === false ? 'its header is wrong' : 'its checksum is wrong';
    this.#note(position, `the event at ${position} (${facts}) is damaged: ${reason}`);
  }

  #note(position: number, text: string): void {
    this.#damagedEvents += 1;
    if (this.#damaged.length < MOST_NAMED) this.#damaged.push({ position, text });
    if (this.#goesOn) return;
    this.isLost = true;
    this.#failure = new KeyError('DATA_UNREADABLE', `${this.#name}: ${text}`);
  }
}

/** Returns a copy of the first events. */
function firstEvents(events: Buffer): Buffer {
  let end = 0;
  for (let count = 0; count < TRIED_EVENTS && end < events.length; count += 1) {
    const length = events.readUInt32LE(end + EVENT_LENGTH);
    if (count > 0 && end + length > TRIED_BYTES) break;
    end += length;
  }
  return Buffer.from(events.subarray(0, end));
}
