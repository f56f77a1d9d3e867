import { createInterface } from 'node:readline/promises';
import { printable } from '../printable.ts';
import type { DevKmsIo } from './dev-kms.ts';
import { onReaderGone } from './output.ts';
import { exitWithin } from './system.ts';

/** The terminal, the signals and the end of this process, passed in for tests. */
export interface CliIo extends DevKmsIo {
  /** True if standard output is a terminal with colours. */
  readonly hasColours: boolean;
  /** Width of the terminal; undefined when output goes elsewhere. */
  readonly columns: number | undefined;
  /** Replaces the last line of a terminal's standard error; undefined where that is none. */
  readonly redraw?: ((line: string) => void) | undefined;
  /** True if a person can answer questions. */
  readonly isInteractive: boolean;
  /** Reads one line of standard input. The question is printed only on a terminal. */
  ask(question: string): Promise<string>;
  /** Ends the process with this status, even if an abandoned operation still waits for an answer. */
  exit(status: number): void;
}

/** Milliseconds to wait for lines that a pipe has not taken yet. */
const FLUSH_MS = 1_000;

export const processIo: CliIo = {
  stdout: (line, form) => void process.stdout.write(`${form === 'prepared' ? line : printable(line)}\n`),
  stderr: (line) => void process.stderr.write(`${printable(line)}\n`),
  onSignal: (handler) => {
    process.on('SIGINT', handler);
    process.on('SIGTERM', handler);
    process.on('SIGHUP', handler);
    const forget = onReaderGone(handler);
    return () => {
      forget();
      process.off('SIGINT', handler);
      process.off('SIGTERM', handler);
      process.off('SIGHUP', handler);
    };
  },
  hasColours: process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
  // A serial console reports a width of 0.
  columns: process.stdout.isTTY ? process.stdout.columns || undefined : undefined,
  redraw: process.stderr.isTTY && process.env['TERM'] !== 'dumb' ? redraw : undefined,
  isInteractive: process.stdin.isTTY && process.stderr.isTTY,
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
    exitWithin(FLUSH_MS);
  },
};

function redraw(line: string): void {
  const columns = process.stderr.columns || 80;
  process.stderr.write(`\r\u001b[K${printable(line).slice(0, columns - 1)}`);
}
