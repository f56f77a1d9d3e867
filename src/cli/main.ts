import { type KeyError, toKeyError } from '../errors.ts';
import { BAD_USAGE, FAILED } from './exit-status.ts';
import { servePluginThatStartedUs } from './serve-plugin.ts';
import { processSecrets } from './system.ts';

async function main(): Promise<void> {
  const [, , verb, ...more] = process.argv;
  // A server waits for it: nothing is loaded that it does not need.
  if (verb === 'agent' && more.length === 0) await servePluginThatStartedUs();
  else await (await import('./commands.ts')).runCommand(process.argv);
}

main().catch((thrown: unknown) => {
  process.exitCode = report(toKeyError(thrown));
});

// Node.js would print everything that hangs on an error: requests, answers, their headers.
process.on('uncaughtException', (thrown: unknown) => process.exit(report(toKeyError(thrown))));

/** @returns the status to end with */
function report({ code, message, hint, stack = '' }: KeyError): number {
  console.error(processSecrets.redact(`mariadb-aws-kms: error: ${message}`));
  if (hint !== '') console.error(processSecrets.redact(`hint: ${hint}`));
  if (code === 'INTERNAL') console.error(processSecrets.redact(stack));
  return code === 'BAD_OPTION' ? BAD_USAGE : FAILED;
}
