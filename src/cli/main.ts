import { type KeyError, toKeyError } from '../errors.ts';
import { BAD_USAGE, FAILED } from './exit-status.ts';
import { watchOutput } from './output.ts';
import { failureAsJson } from './problems.ts';
import { servePluginThatStartedUs } from './serve-plugin.ts';
import { processSecrets, withoutSecrets } from './system.ts';

async function main(): Promise<void> {
  const [, , verb, ...more] = process.argv;
  // A server waits for it: nothing is loaded that it does not need.
  if (verb === 'agent' && more.length === 0) {
    await servePluginThatStartedUs();
    return;
  }
  watchOutput((problem) => process.exit(report(problem)));
  await (await import('./commands.ts')).runCommand(process.argv);
}

main().catch((thrown: unknown) => {
  process.exitCode = report(toKeyError(thrown));
});

// Node.js would print everything that hangs on an error: requests, answers, their headers.
process.on('uncaughtException', (thrown: unknown) => process.exit(report(toKeyError(thrown))));

/** @returns the status to end with */
function report(error: KeyError): number {
  const { code, message, hint, stack = '' } = error;
  const json = failureAsJson(process.argv, withoutSecrets(error));
  if (json !== undefined) console.log(json);
  console.error(processSecrets.redact(`mariadb-aws-kms: error: ${message}`));
  if (hint !== '') console.error(processSecrets.redact(`hint: ${hint}`));
  if (code === 'INTERNAL') console.error(processSecrets.redact(stack));
  return code === 'BAD_OPTION' ? BAD_USAGE : FAILED;
}
