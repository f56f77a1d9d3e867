import { KeyError, systemErrorCode } from '../errors.ts';

const handlers = new Set<() => void>();

/**
 * Output that nobody reads any more (`doctor | head`) ends no command with a stack trace: what is left to print is dropped,
 * and the command goes on to its end and its exit status. A full disk below a redirected output is a failure.
 */
export function watchOutput(fail: (problem: KeyError) => void): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error) => {
      if (systemErrorCode(error) === 'EPIPE' || stream === process.stderr) {
        if (stream === process.stdout) for (const handler of handlers) handler();
        return;
      }
      fail(
        new KeyError(
          'STORE_UNAVAILABLE',
          `cannot write to standard output: ${systemErrorCode(error) ?? error.message}`,
          {
            hint: 'look at where the output was sent to',
            cause: error,
          },
        ),
      );
    });
  }
}

/** For a command that would print for ever. @returns what forgets the handler */
export function onReaderGone(handler: () => void): () => void {
  handlers.add(handler);
  return () => void handlers.delete(handler);
}
