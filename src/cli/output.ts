import { KeyError, systemErrorCode } from '../errors.ts';

const handlers = new Set<() => void>();

/**
 * Handles errors of standard output. When its reader has gone (`doctor | head`) the rest of the output is dropped, and
 * the command goes on to its end and its exit status. A full disk is a failure.
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

/**
 * Calls `handler` when nobody reads the output any more, for a command that would print for ever.
 * @returns a function that removes the handler
 */
export function onReaderGone(handler: () => void): () => void {
  handlers.add(handler);
  return () => void handlers.delete(handler);
}
