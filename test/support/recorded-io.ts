import type { CliIo } from '../../src/cli/process-io.ts';

/**
 * No terminal: what a command prints, and the status that it ends with, -1 before.
 * @param more members of a terminal that a test needs
 */
export function recordedIo(more: Partial<CliIo> = {}) {
  const printed = { stdout: '', stderr: '', status: -1 };
  const io: CliIo = {
    stdout: (line) => {
      printed.stdout += `${line}\n`;
    },
    stderr: (line) => {
      printed.stderr += `${line}\n`;
    },
    onSignal: () => () => undefined,
    hasColours: false,
    columns: undefined,
    isInteractive: false,
    ask: () => Promise.reject(new Error('no question is expected')),
    exit: (status) => {
      printed.status = status;
    },
    ...more,
  };
  return { io, printed };
}
