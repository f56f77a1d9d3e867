import { Command, CommanderError } from 'commander';
import { type KeyError, toKeyError } from '../errors.ts';
import { agentCommand } from './agent.ts';
import { backupKeysCommand } from './backup-keys.ts';
import { devKmsCommand } from './dev-kms.ts';
import { doctorCommand } from './doctor.ts';
import { loginCommand } from './login.ts';
import { policyCommand } from './policy.ts';
import { processIo } from './process-io.ts';
import { processSecrets } from './system.ts';
import { verifyBackupCommand } from './verify-backup.ts';
import { VERSION } from './version.ts';

const FAILED = 1;
const BAD_USAGE = 2;

async function main(): Promise<void> {
  const program = new Command('mariadb-aws-kms')
    .description('MariaDB data-at-rest encryption with keys held by AWS KMS')
    .version(VERSION)
    .exitOverride()
    .addCommand(agentCommand().exitOverride())
    .addCommand(doctorCommand(processIo).exitOverride())
    .addCommand(backupKeysCommand(processIo).exitOverride())
    .addCommand(verifyBackupCommand(processIo).exitOverride())
    .addCommand(policyCommand(processIo).exitOverride())
    .addCommand(loginCommand(processIo).exitOverride())
    .addCommand(devKmsCommand(processIo).exitOverride());
  await program.parseAsync(process.argv);
}

main().catch((thrown: unknown) => {
  // Commander has printed its message already.
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : BAD_USAGE;
  else process.exitCode = report(toKeyError(thrown));
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
