import type { CliIo } from '../../src/cli/process-io.ts';

/** No terminal: what a command prints, and the status that it ends with, -1 before. */
export function recordedIo() {
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
    ask: async () => '',
    exit: (status) => {
      printed.status = status;
    },
  };
  return { io, printed };
}
