import { createInterface } from 'node:readline/promises';
import { printable } from '../printable.ts';
import type { DevKmsIo } from './dev-kms.ts';
import { onReaderGone } from './output.ts';

/** The terminal, the signals and the end of this process, passed in so that tests can be them. */
export interface CliIo extends DevKmsIo {
  /** Whether lines go to a terminal that shows colours. */
  readonly hasColours: boolean;
  /** Of the terminal that lines go to; undefined when they go elsewhere. */
  readonly columns: number | undefined;
  /** One line of standard input; the question is asked only when somebody is there to read it. */
  ask(question: string): Promise<string>;
  /** The process ends with this status, also when something that was given up still waits for an answer. */
  exit(status: number): void;
}

/** For lines on their way to a pipe. */
const FLUSH_MS = 1_000;

export const processIo: CliIo = {
  stdout: (line, form) => void process.stdout.write(`${form === 'prepared' ? line : printable(line)}\n`),
  stderr: (line) => void process.stderr.write(`${printable(line)}\n`),
  onSignal: (handler) => {
    process.on('SIGINT', handler);
    process.on('SIGTERM', handler);
    const forget = onReaderGone(handler);
    return () => {
      forget();
      process.off('SIGINT', handler);
      process.off('SIGTERM', handler);
    };
  },
  hasColours: process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
  // A serial console has 0: it does not know.
  columns: process.stdout.isTTY ? process.stdout.columns || undefined : undefined,
  ask: async (question) => {
    if (process.stdin.isTTY) process.stderr.write(printable(question));
    const lines = createInterface({ input: process.stdin });
    try {
      for await (const line of lines) return line;
      return '';
    } finally {
      lines.close();
    }
  },
  exit: (status) => {
    process.exitCode = status;
    setTimeout(() => process.exit(), FLUSH_MS).unref();
  },
};
