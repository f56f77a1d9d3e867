/** Standard input and output as bytes, passed in for tests. */
import type { LogInput, LogOutput } from '../../decrypt/binlog.ts';
import { KeyError, systemErrorCode } from '../../errors.ts';

export interface ByteStreams {
  readonly input: LogInput & { close(): void };
  readonly output: LogOutput;
  /** True: standard output is a terminal, which bytes would confuse. */
  readonly showsOutput: boolean;
}

/** The reader of standard output has gone, as `mariadb-binlog --stop-position` does. */
export class ReaderGone extends Error {}

export function processStreams(): ByteStreams {
  return {
    input: inputOf(process.stdin),
    showsOutput: process.stdout.isTTY,
    output: async (bytes) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      await promise.catch((cause: unknown) => {
        const code = systemErrorCode(cause);
        if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') throw new ReaderGone();
        throw new KeyError('STORE_UNAVAILABLE', `cannot write to standard output: ${code ?? 'failed'}`, { cause });
      });
    },
  };
}

function inputOf(stream: NodeJS.ReadStream): ByteStreams['input'] {
  let chunks: AsyncIterator<unknown> | undefined;
  let left: Uint8Array = Buffer.alloc(0);
  return {
    name: 'standard input',
    close: () => void stream.destroy(),
    read: async (into) => {
      chunks ??= stream[Symbol.asyncIterator]();
      while (left.length === 0) {
        const { done, value } = await chunks.next();
        if (done === true) return 0;
        if (value instanceof Uint8Array) left = value;
      }
      const part = left.subarray(0, into.length);
      into.set(part);
      left = left.subarray(part.length);
      return part.length;
    },
  };
}
