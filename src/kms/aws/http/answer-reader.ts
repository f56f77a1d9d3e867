import { wipe } from '../../../bytes.ts';
import { type HttpAnswer, MOST_ANSWER_BYTES } from './transport.ts';

/** The limit of Node.js. */
const MOST_HEAD_BYTES = 16_384;
const MOST_LINE_BYTES = 1_024;
/** Each piece is an object: many pieces of one byte would need much memory. */
const MOST_PIECES = 4_096;
/** The most interim heads (status 1xx), and the most lines after the body. */
const MOST_EXTRAS = 16;
const CRLF = '\r\n';
const NOTHING: Buffer = Buffer.alloc(0);
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t -~\x80-\xff]*)?$/;
/** The value includes its surrounding blanks: a pattern without them would take quadratic time on a long line. */
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)$/;
const CHUNK_SIZE_LINE = /^([0-9a-fA-F]{1,8})[ \t]*(?:;[\t -~\x80-\xff]*)?$/;

/** Classified like the answer of a proxy or gateway in place of KMS's. */
class NoHttpError extends Error {
  override readonly name = 'UnreadableAnswer';

  constructor(what: string) {
    super(`the answer is not HTTP/1.1: ${what}`);
  }
}

/** Header lines that were parsed before: KMS repeats most of its lines in every answer. */
const knownLines = new Map<string, readonly [name: string, value: string]>();
const MOST_KNOWN_LINES = 32;

type State = 'head' | 'sized' | 'chunk size' | 'chunk' | 'chunk end' | 'trailers' | 'until closed' | 'whole';

/**
 * Parses one answer to a POST request (RFC 9112) incrementally. It is stricter than the standard requires: request
 * smuggling exploits lenient readers. Keeps no reference to a piece.
 */
export class AnswerReader {
  #state: State = 'head';
  /** The received part of an incomplete head or line. */
  #unread = NOTHING;
  #status = 0;
  #headers: Record<string, string> = {};
  readonly #body: Buffer[] = [];
  #bodyBytes = 0;
  /** Bytes missing from the body or its current chunk. */
  #missing = 0;
  #extras = 0;
  #keepsConnection = true;

  /** True if the connection can carry another answer. */
  get keepsConnection(): boolean {
    return this.#state === 'whole' && this.#keepsConnection;
  }

  /** @returns true when the answer is complete @throws Error UnreadableAnswer */
  feed(piece: Buffer): boolean {
    const before = this.#unread;
    const bytes = before.length === 0 ? piece : Buffer.concat([before, piece]);
    let at = 0;
    try {
      for (let next = this.#step(bytes, at); next !== undefined; next = this.#step(bytes, at)) at = next;
      if (this.#state === 'whole') {
        if (at < bytes.length) this.#keepsConnection = false;
        at = bytes.length;
      }
      this.#unread = at === bytes.length ? NOTHING : Buffer.from(bytes.subarray(at));
    } finally {
      // A part of the body may have arrived with the end of the head.
      if (bytes !== piece) wipe(bytes);
      wipe(before);
    }
    return this.#state === 'whole';
  }

  get hasBegun(): boolean {
    return this.#state !== 'head' || this.#unread.length > 0;
  }

  /** Handles the end of the connection. Returns true if that completes the answer. */
  end(): boolean {
    if (this.#state !== 'until closed') return false;
    this.#state = 'whole';
    return true;
  }

  /** Returns a complete answer. The receiver wipes its body. */
  take(): HttpAnswer {
    const [first] = this.#body;
    const single = this.#body.length === 1 ? first : undefined;
    const body = single ?? Buffer.concat(this.#body);
    if (single === undefined) this.wipe();
    this.#body.length = 0;
    return { status: this.#status, headers: this.#headers, body };
  }

  /** Wipes an incomplete answer, which may contain part of a data key. */
  wipe(): void {
    wipe(this.#unread);
    for (const piece of this.#body) wipe(piece);
  }

  /** Returns the offset after the parsed bytes; undefined: more bytes are needed. */
  #step(bytes: Buffer, at: number): number | undefined {
    switch (this.#state) {
      case 'head':
        return this.#head(bytes, at);
      case 'sized':
      case 'chunk':
        return this.#content(bytes, at, this.#missing);
      case 'until closed':
        return this.#content(bytes, at, Number.POSITIVE_INFINITY);
      case 'chunk size':
        return this.#line(bytes, at, (line) => this.#chunkSize(line));
      case 'chunk end':
        return this.#line(bytes, at, (line) => {
          if (line !== '') throw new NoHttpError('a chunk is longer than it says');
          this.#state = 'chunk size';
        });
      case 'trailers':
        return this.#line(bytes, at, (line) => {
          if (line === '') this.#state = 'whole';
          else {
            headersOf([line]);
            this.#countExtra();
          }
        });
      case 'whole':
        return undefined;
    }
  }

  #head(bytes: Buffer, at: number): number | undefined {
    const end = bytes.indexOf(CRLF + CRLF, at, 'latin1');
    if ((end < 0 ? bytes.length : end) - at > MOST_HEAD_BYTES) throw new NoHttpError('its head is too long');
    if (end < 0) {
      // Another protocol is recognised at its first bytes, because it may never send the end of a head.
      const start = bytes.toString('latin1', at, Math.min(at + 5, bytes.length));
      if (!'HTTP/'.startsWith(start)) throw new NoHttpError('it does not start with HTTP/');
      return undefined;
    }
    const [statusLine = '', ...lines] = bytes.toString('latin1', at, end).split(CRLF);
    const [matched, minor, status] = STATUS_LINE.exec(statusLine) ?? [];
    if (matched === undefined) throw new NoHttpError('its first line is no status line');
    this.#status = Number(status);
    this.#headers = headersOf(lines);
    // 100 and 103 precede the answer; 101 was not requested.
    if (this.#status === 101) throw new NoHttpError('it changes the protocol');
    if (this.#status >= 200) this.#frame(minor === '1');
    else this.#countExtra();
    return end + 2 * CRLF.length;
  }

  /** Determines how the body's end is marked: RFC 9112, 6.3. */
  #frame(isLatest: boolean): void {
    const { connection, 'transfer-encoding': coding, 'content-length': length } = this.#headers;
    this.#keepsConnection = isLatest && !/\bclose\b/i.test(connection ?? '');
    if (this.#status === 204 || this.#status === 304) {
      // If a body is sent nevertheless, it is not taken for the next answer.
      this.#keepsConnection = false;
      this.#state = 'whole';
    } else if (coding !== undefined) {
      if (length !== undefined) throw new NoHttpError('it has two lengths');
      if (coding.toLowerCase() !== 'chunked') throw new NoHttpError('it has an unknown Transfer-Encoding');
      this.#state = 'chunk size';
    } else if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw new NoHttpError('its Content-Length is no number');
      this.#missing = Number(length);
      this.#state = this.#missing === 0 ? 'whole' : 'sized';
    } else {
      this.#keepsConnection = false;
      this.#state = 'until closed';
    }
  }

  #content(bytes: Buffer, at: number, missing: number): number | undefined {
    if (at === bytes.length) return undefined;
    const piece = Buffer.from(bytes.subarray(at, Math.min(bytes.length, at + missing)));
    if (this.#body.push(piece) > MOST_PIECES) throw new NoHttpError('its body comes in too many pieces');
    this.#bodyBytes += piece.length;
    if (this.#state !== 'until closed') {
      this.#missing -= piece.length;
      if (this.#missing === 0) this.#state = this.#state === 'chunk' ? 'chunk end' : 'whole';
    }
    if (this.#bodyBytes > MOST_ANSWER_BYTES) {
      // The body is cut off, so it is no JSON: the reader reports that.
      this.#keepsConnection = false;
      this.#state = 'whole';
    }
    return at + piece.length;
  }

  #line(bytes: Buffer, at: number, read: (line: string) => void): number | undefined {
    const end = bytes.indexOf(CRLF, at, 'latin1');
    if ((end < 0 ? bytes.length : end) - at > MOST_LINE_BYTES) throw new NoHttpError('a line of its body is too long');
    if (end < 0) return undefined;
    read(bytes.toString('latin1', at, end));
    return end + CRLF.length;
  }

  #countExtra(): void {
    this.#extras += 1;
    if (this.#extras > MOST_EXTRAS) throw new NoHttpError('there is no end to what comes with it');
  }

  #chunkSize(line: string): void {
    const [, size] = CHUNK_SIZE_LINE.exec(line) ?? [];
    if (size === undefined) throw new NoHttpError('the size of a chunk is no number');
    this.#missing = Number.parseInt(size, 16);
    this.#state = this.#missing === 0 ? 'trailers' : 'chunk';
  }
}

function headersOf(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const [key, value] = knownLines.get(line) ?? headerOf(line);
    const before = headers[key];
    headers[key] = before === undefined ? value : `${before}, ${value}`;
  }
  return headers;
}

function headerOf(line: string): readonly [name: string, value: string] {
  const [, name, padded = ''] = HEADER_LINE.exec(line) ?? [];
  if (name === undefined) throw new NoHttpError('a line of its head is no header');
  const header = [name.toLowerCase(), withoutBlanks(padded)] as const;
  if (knownLines.size < MOST_KNOWN_LINES) knownLines.set(line, header);
  return header;
}

/** Trims the blanks of HTTP, which are fewer than those of `trim()`. */
function withoutBlanks(text: string): string {
  const isBlank = (at: number): boolean => text[at] === ' ' || text[at] === '\t';
  let [from, to] = [0, text.length];
  while (from < to && isBlank(from)) from += 1;
  while (to > from && isBlank(to - 1)) to -= 1;
  return text.slice(from, to);
}
