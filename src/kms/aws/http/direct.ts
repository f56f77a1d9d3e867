import { connect, type OnReadOpts, type Socket } from 'node:net';
import { wipe } from '../../../bytes.ts';
import type { Clock } from '../../../clock.ts';
import { AnswerReader } from './answer-reader.ts';
import { type HttpOutcome, type HttpRequest, limitConnecting, type Transport } from './transport.ts';

/** Starts to connect, and returns the socket, which passes everything that it reads to the callback of `onread`. */
export type OpenSocket = (onread: OnReadOpts) => Socket;

export function plainSockets(host: string, port: number): OpenSocket {
  return (onread) => connect({ host, port, onread });
}

/**
 * Every connection reads into this buffer: its bytes are parsed and wiped before anything else is read. A buffer for each
 * read, and the event for it, cost as much as parsing the answer.
 */
const incoming = Buffer.alloc(65_536);

/** Milliseconds until the kernel probes a quiet connection. */
const PROBE_AFTER_MS = 1_000;
/** Milliseconds before a server's announced close of a quiet connection at which it is no longer used. */
const HURRY_MS = 1_000;

/**
 * HTTP/1.1 over our own connections, without proxies: a call through Node's client costs the agent three to four times
 * as much, and loading that client is a large part of a start (docs/performance.md).
 */
export class DirectTransport implements Transport {
  readonly #open: OpenSocket;
  readonly #path: string;
  readonly #clock: Clock;
  /** The last used connection is used next, so that the others can be closed one day. */
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();

  constructor(open: OpenSocket, path: string, clock: Clock) {
    this.#open = open;
    this.#path = path;
    this.#clock = clock;
  }

  post(
    { headers, body, connectTimeoutMs }: HttpRequest,
    ended: (outcome: HttpOutcome) => void,
  ): (error: unknown) => void {
    const text = requestText(this.#path, headers, body);
    const connection = this.#takeIdle() ?? this.#connect(connectTimeoutMs);
    return connection.ask(text, ended);
  }

  prepare(connectTimeoutMs: number): void {
    const connection = this.#connect(connectTimeoutMs);
    connection.rest();
    this.#idle.push(connection);
  }

  close(): void {
    for (const connection of this.#all) connection.fail(hangUp());
  }

  #takeIdle(): Connection | undefined {
    for (let found = this.#idle.pop(); found !== undefined; found = this.#idle.pop()) {
      if (found.goodUntilMs > this.#clock.monotonicMs()) return found;
      found.fail(hangUp());
    }
    return undefined;
  }

  #connect(timeoutMs: number): Connection {
    const connection: Connection = new Connection(this.#open, timeoutMs, this.#clock, {
      free: () => void this.#idle.push(connection),
      gone: () => {
        this.#all.delete(connection);
        const at = this.#idle.indexOf(connection);
        if (at >= 0) this.#idle.splice(at, 1);
      },
    });
    this.#all.add(connection);
    return connection;
  }
}

interface ConnectionEvents {
  /** Called when the connection is free for another request. */
  free(): void;
  gone(): void;
}

interface Asked {
  readonly reader: AnswerReader;
  readonly ended: (outcome: HttpOutcome) => void;
}

/** A connection that carries one request at a time. */
class Connection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  #asked: Asked | undefined;
  #goodUntilMs = Number.POSITIVE_INFINITY;

  constructor(open: OpenSocket, connectTimeoutMs: number, clock: Clock, events: ConnectionEvents) {
    const read = (bytes: number): boolean => {
      this.#read(incoming.subarray(0, bytes));
      return true;
    };
    const socket = open({ buffer: incoming, callback: read });
    this.#socket = socket;
    this.#clock = clock;
    this.#events = events;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_AFTER_MS);
    limitConnecting(socket, connectTimeoutMs, clock, (error) => this.fail(error));
    socket.on('end', () => this.#end());
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(hangUp(this.#asked?.reader)));
  }

  /** The end of its use on the monotonic clock, in milliseconds. */
  get goodUntilMs(): number {
    return this.#goodUntilMs;
  }

  /** @returns a function that aborts the request */
  ask(text: string, ended: (outcome: HttpOutcome) => void): (error: unknown) => void {
    const asked = { reader: new AnswerReader(), ended };
    this.#asked = asked;
    this.#socket.ref();
    this.#socket.write(text);
    return (error) => {
      if (this.#asked === asked) this.fail(error);
    };
  }

  /** An idle connection does not keep the process alive. */
  rest(): void {
    this.#socket.unref();
  }

  /** Closes the connection; a pending request fails with the error. */
  fail(error: unknown): void {
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.reader.wipe();
    // Bytes that arrive for a destroyed connection come to no callback.
    wipe(incoming);
    this.#events.gone();
    this.#socket.destroy();
    asked?.ended({ error });
  }

  #read(piece: Buffer): void {
    try {
      // Bytes without a request are not taken for the answer to the next one.
      if (this.#asked === undefined) this.fail(hangUp());
      else if (this.#asked.reader.feed(piece)) this.#finish(this.#asked);
    } catch (error) {
      this.fail(error);
    } finally {
      // The piece may contain a data key.
      wipe(piece);
    }
  }

  #end(): void {
    // A TLS connection that ended too early reports an error after this event.
    if (this.#socket.destroyed) return;
    if (this.#asked?.reader.end()) this.#finish(this.#asked);
    else this.fail(hangUp(this.#asked?.reader));
  }

  #finish({ reader, ended }: Asked): void {
    this.#asked = undefined;
    const answer = reader.take();
    if (reader.keepsConnection) {
      const [, seconds] = /\btimeout=(\d{1,6})\b/.exec(String(answer.headers['keep-alive'] ?? '')) ?? [];
      if (seconds !== undefined) this.#goodUntilMs = this.#clock.monotonicMs() + Number(seconds) * 1000 - HURRY_MS;
      this.rest();
      this.#events.free();
    } else this.fail(hangUp());
    ended({ answer });
  }
}

function requestText(path: string, headers: Readonly<Record<string, string>>, body: string): string {
  let text = `POST ${path} HTTP/1.1\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    // The same error as Node's. Credentials come from files that anybody may have written.
    if (/[^\t -~]/.test(value)) {
      throw Object.assign(new TypeError(`Invalid character in header content ["${name}"]`), {
        code: 'ERR_INVALID_CHAR',
      });
    }
    text += `${name}: ${value}\r\n`;
  }
  return `${text}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** The error code that Node.js uses. */
function hangUp(reader?: AnswerReader): Error {
  const message = reader?.hasBegun ? 'the connection ended in the middle of the answer' : 'socket hang up';
  return Object.assign(new Error(message), { code: 'ECONNRESET' });
}
