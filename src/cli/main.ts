import { type KeyError, toKeyError } from '../errors.ts';
import { printable } from '../printable.ts';
import { forbidCoreDumps } from './core-dumps.ts';
import { BAD_USAGE, FAILED } from './exit-status.ts';
import { watchOutput } from './output.ts';
import { failureAsJson } from './problems.ts';
import { dropRuntimeSettings } from './runtime-settings.ts';
import { servePluginThatStartedUs } from './serve-plugin.ts';
import { processSecrets, withoutSecrets } from './system.ts';

async function main(): Promise<void> {
  const [, , verb, ...more] = process.argv;
  const isStartedByPlugin = verb === 'agent' && more.length === 0;
  dropRuntimeSettings(isStartedByPlugin);
  const exposed = await forbidCoreDumps(isStartedByPlugin);
  if (exposed !== undefined) printError(`mariadb-aws-kms: warning: a core dump would hold secrets: ${exposed}`);
  // A server waits for this start: only the needed modules are loaded.
  if (isStartedByPlugin) {
    await servePluginThatStartedUs();
    return;
  }
  watchOutput((problem) => process.exit(report(problem)));
  await (await import('./run-command.ts')).runCommand(process.argv);
}

main().catch((thrown: unknown) => {
  process.exitCode = report(toKeyError(thrown));
});

// Node.js would print all properties of an error: requests, answers, their headers.
process.on('uncaughtException', (thrown: unknown) => process.exit(report(toKeyError(thrown))));

/** Prints the error. @returns the exit status */
function report(error: KeyError): number {
  const { code, message, hint, stack = '' } = error;
  const json = failureAsJson(process.argv, withoutSecrets(error));
  if (json !== undefined) console.log(json);
  printError(`mariadb-aws-kms: error: ${message}`);
  if (hint !== '') printError(`hint: ${hint}`);
  // The stack is indented: it contains text from outside, which must not pass for a line of ours.
  if (code === 'INTERNAL') for (const line of stack.split('\n')) printError(`  ${line}`);
  return code === 'BAD_OPTION' ? BAD_USAGE : FAILED;
}

function printError(line: string): void {
  console.error(printable(processSecrets.redact(line)));
}
