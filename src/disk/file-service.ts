/** File calls of a key directory made by another process: both ends of the channel. */
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.ts';
import { KeyError } from '../errors.ts';
import type { Access, FileSystem, OpenFile } from './file-system.ts';

/** A message channel between two processes. It copies messages, bytes included. */
export interface Channel {
  send(message: Message): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Called when the other process has gone or sent an invalid message. */
  onClose(listener: () => void): void;
  close(): void;
}

export type Message = Readonly<Record<string, unknown>>;

export type RemoteFileSystem = Pick<
  FileSystem,
  'open' | 'readdir' | 'mkdir' | 'link' | 'rename' | 'unlink' | 'rmdir' | 'stat'
>;

type Arguments = readonly unknown[];

/** Serves the file calls that arrive over the channel, with the rights of this process. */
export function serveFiles(channel: Channel, fs: RemoteFileSystem): void {
  const files = new Map<number, OpenFile>();
  let opened = 0;
  const fileOf = (handle: unknown): OpenFile => files.get(whole(handle)) ?? malformed('an open file');
  const calls: Readonly<Record<string, (given: Arguments) => unknown>> = {
    open: async ([path, flags, mode]) => {
      const file = await fs.open(text(path), whole(flags), mode === undefined ? undefined : whole(mode));
      opened += 1;
      files.set(opened, file);
      return opened;
    },
    readdir: async ([path]) => await fs.readdir(text(path)),
    mkdir: async ([path, mode]) => await fs.mkdir(text(path), whole(mode)),
    link: async ([existing, path]) => await fs.link(text(existing), text(path)),
    rename: async ([existing, path]) => await fs.rename(text(existing), text(path)),
    unlink: async ([path]) => await fs.unlink(text(path)),
    rmdir: async ([path]) => await fs.rmdir(text(path)),
    stat: async ([path]) => {
      const { mtimeMs, uid, gid, mode } = await fs.stat(text(path));
      return { mtimeMs, uid, gid, mode };
    },
    writeFile: async ([handle, bytes]) => await fileOf(handle).writeFile(bytesOf(bytes)),
    readFile: async ([handle, most]) => await fileOf(handle).readFile(whole(most)),
    fstat: async ([handle]) => {
      const found = await fileOf(handle).stat();
      return { isFile: found.isFile(), size: found.size, uid: found.uid, gid: found.gid, mode: found.mode };
    },
    chown: async ([handle, uid, gid]) => await fileOf(handle).chown(whole(uid), whole(gid)),
    chmod: async ([handle, mode]) => await fileOf(handle).chmod(whole(mode)),
    sync: async ([handle]) => await fileOf(handle).sync(),
    close: async ([handle]) => {
      const file = fileOf(handle);
      files.delete(whole(handle));
      await file.close();
    },
  };
  channel.onMessage((message) => {
    const { id, call, given } = fieldsOf(message);
    const answer = async (): Promise<unknown> => {
      const made = calls[text(call)];
      if (made === undefined || !Array.isArray(given)) return malformed('a call');
      return await made(given);
    };
    answer().then(
      (value) => channel.send({ id, value }),
      (error: unknown) => channel.send({ id, error: describe(error) }),
    );
  });
}

function describe(error: unknown): { readonly message: string; readonly code: unknown } {
  const message = error instanceof Error ? error.message : String(error);
  return { message, code: error instanceof Error && 'code' in error ? error.code : undefined };
}

/** Answers in place of `serveFiles` when this process could not get the rights: each call fails with `reason`. */
export function refuseFiles(channel: Channel, reason: string): void {
  channel.send({ refused: reason });
  // A listener makes the stream read, which is how the end of the other process is noticed.
  channel.onMessage(() => undefined);
}

/** Milliseconds to wait for an answer; longer than any call takes on a working disk. */
const ANSWER_MS = 60_000;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Sends file calls to the process at the other end of the channel. Its answers are trusted only for files that it may
 * read: another user may control it by now.
 * @param who the user to name in errors
 */
export class FileServiceClient implements RemoteFileSystem {
  readonly #channel: Channel;
  readonly #who: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #clock: Clock;
  readonly #answerMs: number;
  #asked = 0;
  #ended: KeyError | undefined;

  constructor(channel: Channel, who: string, clock: Clock, answerMs: number = ANSWER_MS) {
    this.#channel = channel;
    this.#who = who;
    this.#clock = clock;
    this.#answerMs = answerMs;
    channel.onMessage((message) => this.#take(message));
    channel.onClose(() => this.#end(this.#gone()));
  }

  async open(path: string, flags: number, mode?: number): Promise<OpenFile> {
    const handle = whole(await this.#call('open', path, flags, ...(mode === undefined ? [] : [mode])));
    return {
      writeFile: async (bytes) => void (await this.#call('writeFile', handle, bytes)),
      readFile: async (most) => Buffer.from(bytesOf(await this.#call('readFile', handle, most))),
      stat: async () => {
        const { isFile, size, ...access } = fieldsOf(await this.#call('fstat', handle));
        return { isFile: () => isFile === true, size: whole(size), ...accessOf(access) };
      },
      chown: async (uid, gid) => void (await this.#call('chown', handle, uid, gid)),
      chmod: async (to) => void (await this.#call('chmod', handle, to)),
      sync: async () => void (await this.#call('sync', handle)),
      close: async () => void (await this.#call('close', handle)),
    };
  }

  async readdir(path: string): Promise<string[]> {
    const names = await this.#call('readdir', path);
    return Array.isArray(names) ? names.map(text) : malformed('a list of names');
  }

  async mkdir(path: string, mode: number): Promise<void> {
    await this.#call('mkdir', path, mode);
  }

  async link(existing: string, path: string): Promise<void> {
    await this.#call('link', existing, path);
  }

  async rename(existing: string, path: string): Promise<void> {
    await this.#call('rename', existing, path);
  }

  async unlink(path: string): Promise<void> {
    await this.#call('unlink', path);
  }

  async rmdir(path: string): Promise<void> {
    await this.#call('rmdir', path);
  }

  async stat(path: string): Promise<{ readonly mtimeMs: number } & Access> {
    const { mtimeMs, ...access } = fieldsOf(await this.#call('stat', path));
    return { mtimeMs: typeof mtimeMs === 'number' ? mtimeMs : malformed('a time'), ...accessOf(access) };
  }

  async #call(call: string, ...given: Arguments): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = ++this.#asked;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    // The user of that process can stop it at any time.
    const stopTimer = this.#clock.after(this.#answerMs, () => this.#end(this.#silent()));
    this.#channel.send({ id, call, given });
    return await promise.finally(stopTimer);
  }

  /** The first error is kept. */
  #end(error: KeyError): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
    this.#channel.close();
  }

  #take(message: unknown): void {
    const { id, value, error, refused } = fieldsOf(message);
    if (refused !== undefined) {
      this.#end(this.#refused(text(refused)));
      return;
    }
    const waiting = this.#waiting.get(whole(id));
    if (waiting === undefined) return;
    this.#waiting.delete(whole(id));
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(this.#errorOf(error));
  }

  #errorOf(error: unknown): Error {
    const { message, code } = fieldsOf(error);
    const thrown = new Error(`${text(message)} (as ${this.#who})`);
    return typeof code === 'string' ? Object.assign(thrown, { code }) : thrown;
  }

  #refused(reason: string): KeyError {
    return new KeyError('STORE_UNAVAILABLE', `cannot become ${this.#who}: ${reason}`, {
      hint: 'run this as that user',
    });
  }

  #silent(): KeyError {
    const seconds = this.#answerMs / 1_000;
    const text = `the process that looks at files as ${this.#who} did not answer in ${seconds} s`;
    return new KeyError('STORE_UNAVAILABLE', text, {
      hint: 'find out what stopped it, or whether the file system hangs, then run this again',
    });
  }

  #gone(): KeyError {
    return new KeyError('STORE_UNAVAILABLE', `the process that looks at files as ${this.#who} has ended`, {
      hint: 'find out what ended it (kernel log: out of memory?), then run this again',
    });
  }
}

/** Each message is a line of JSON. An object with `base64` stands for bytes. */
export function channelOver(stream: Duplex): Channel {
  const ended = new AbortController();
  stream.on('error', () => ended.abort()).on('close', () => ended.abort());
  return {
    send: (message) => void stream.write(`${JSON.stringify(message, forBytes)}\n`),
    onMessage: (listener) => {
      const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
      // Errors of the stream end it, which `close` reports.
      lines.on('error', () => undefined);
      lines.on('line', (line) => {
        try {
          listener(JSON.parse(line, toBytes));
        } catch {
          stream.destroy();
        }
      });
    },
    close: () => void stream.destroy(),
    onClose: (listener) => ended.signal.addEventListener('abort', listener, { once: true }),
  };
}

/** JSON.stringify has already called a Buffer's toJSON(): the property itself still holds the bytes. */
function forBytes(this: unknown, key: string, value: unknown): unknown {
  const own: unknown =
    typeof this === 'object' && this !== null ? Object.getOwnPropertyDescriptor(this, key)?.value : value;
  return own instanceof Uint8Array ? { base64: Buffer.from(own).toString('base64') } : value;
}

function toBytes(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('base64' in value)) return value;
  return Buffer.from(text(value.base64), 'base64');
}

function fieldsOf(message: unknown): Readonly<Record<string, unknown>> {
  return typeof message === 'object' && message !== null ? { ...message } : malformed('a message');
}

function accessOf({ uid, gid, mode }: Readonly<Record<string, unknown>>): Access {
  return { uid: whole(uid), gid: whole(gid), mode: whole(mode) };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : malformed('text');
}

function whole(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : malformed('a number');
}

function bytesOf(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : malformed('bytes');
}

function malformed(expected: string): never {
  throw new KeyError('INTERNAL', `file service: expected ${expected}`);
}
