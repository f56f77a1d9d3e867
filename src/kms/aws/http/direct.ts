import { isIP, connect as netConnect, type Socket } from 'node:net';
import { createSecureContext, connect as tlsConnect } from 'node:tls';
import { wipe } from '../../../bytes.ts';
import type { Clock } from '../../../clock.ts';
import { AnswerReader } from './answer-reader.ts';
import { type HttpOutcome, type HttpRequest, limitConnecting, type Transport } from './transport.ts';

/** Starts to connect. */
export type OpenSocket = () => Socket;

export function plainSockets(host: string, port: number): OpenSocket {
  return () => netConnect({ host, port });
}

/** @param trusted PEM certificates; undefined: the usual ones */
export function tlsSockets(host: string, port: number, trusted: readonly string[] | undefined): OpenSocket {
  const secureContext = createSecureContext(trusted === undefined ? {} : { ca: [...trusted] });
  // Said here, NODE_TLS_REJECT_UNAUTHORIZED has no say.
  const where = { host, port, secureContext, ALPNProtocols: ['http/1.1'], rejectUnauthorized: true };
  let session: Buffer | undefined;
  return () => {
    // Each is for one connection, which brings the next: what refuses or swallows resumed sessions does so once.
    const resumed = session;
    session = undefined;
    const socket = tlsConnect({
      ...where,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(resumed === undefined ? {} : { session: resumed }),
    });
    socket.on('session', (given) => {
      session = given;
    });
    return socket;
  };
}

/** Until a probe of the kernel asks a connection that is quiet whether it is still there. */
const PROBE_AFTER_MS = 1_000;
/** A server that announces when it closes a quiet connection is not to be raced with. */
const HURRY_MS = 1_000;

/**
 * HTTP/1.1 over connections of our own: a call through Node's client costs the agent three to four times as much, and loading
 * that client is a large part of a start (docs/performance.md). It knows no proxies.
 */
export class DirectTransport implements Transport {
  readonly #open: OpenSocket;
  readonly #path: string;
  readonly #clock: Clock;
  /** The one used last is used next: the others may be closed one day. */
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
    const connection: Connection = new Connection(this.#open(), timeoutMs, this.#clock, {
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
  /** It can be asked again. */
  free(): void;
  gone(): void;
}

interface Asked {
  readonly reader: AnswerReader;
  readonly ended: (outcome: HttpOutcome) => void;
}

/** One request at a time. */
class Connection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  #asked: Asked | undefined;
  #goodUntilMs = Number.POSITIVE_INFINITY;

  constructor(socket: Socket, connectTimeoutMs: number, clock: Clock, events: ConnectionEvents) {
    this.#socket = socket;
    this.#clock = clock;
    this.#events = events;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_AFTER_MS);
    limitConnecting(socket, connectTimeoutMs, clock, (error) => this.fail(error));
    socket.on('data', (piece: Buffer) => this.#read(piece));
    socket.on('end', () => this.#end());
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(hangUp(this.#asked?.reader)));
  }

  /** On the monotonic clock. */
  get goodUntilMs(): number {
    return this.#goodUntilMs;
  }

  /** @returns what gives it up */
  ask(text: string, ended: (outcome: HttpOutcome) => void): (error: unknown) => void {
    const asked = { reader: new AnswerReader(), ended };
    this.#asked = asked;
    this.#socket.ref();
    this.#socket.write(text);
    return (error) => {
      if (this.#asked === asked) this.fail(error);
    };
  }

  /** The connection is not used again; whoever waits for an answer learns why. */
  fail(error: unknown): void {
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.reader.wipe();
    this.#events.gone();
    this.#socket.destroy();
    asked?.ended({ error });
  }

  #read(piece: Buffer): void {
    try {
      // What nobody asked for is not the answer to the next request.
      if (this.#asked === undefined) this.fail(hangUp());
      else if (this.#asked.reader.feed(piece)) this.#finish(this.#asked);
    } catch (error) {
      this.fail(error);
    } finally {
      // A data key may be in it.
      wipe(piece);
    }
  }

  #end(): void {
    // TLS that ended too early says so in an error, which comes after this.
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
      // Alone, it keeps no process from its end.
      this.#socket.unref();
      this.#events.free();
    } else this.fail(hangUp());
    ended({ answer });
  }
}

function requestText(path: string, headers: Readonly<Record<string, string>>, body: string): string {
  let text = `POST ${path} HTTP/1.1\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    // As Node.js says it. Credentials come from files that anybody may have written.
    if (/[^\t -~]/.test(value)) {
      throw Object.assign(new TypeError(`Invalid character in header content ["${name}"]`), {
        code: 'ERR_INVALID_CHAR',
      });
    }
    text += `${name}: ${value}\r\n`;
  }
  return `${text}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** With the code that Node.js gives it. */
function hangUp(reader?: AnswerReader): Error {
  const message = reader?.hasBegun ? 'the connection ended in the middle of the answer' : 'socket hang up';
  return Object.assign(new Error(message), { code: 'ECONNRESET' });
}
