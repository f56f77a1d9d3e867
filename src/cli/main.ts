import { Command, CommanderError } from 'commander';
import { toKeyError } from '../errors.ts';
import { agentCommand } from './agent.ts';
import { backupKeysCommand } from './backup-keys.ts';
import { devKmsCommand } from './dev-kms.ts';
import { doctorCommand } from './doctor.ts';
import { loginCommand } from './login.ts';
import { policyCommand } from './policy.ts';
import { processIo } from './process-io.ts';
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
  if (thrown instanceof CommanderError) {
    process.exitCode = thrown.exitCode === 0 ? 0 : BAD_USAGE;
    return;
  }
  const error = toKeyError(thrown);
  console.error(`mariadb-aws-kms: error: ${error.message}`);
  if (error.hint !== '') console.error(`hint: ${error.hint}`);
  process.exitCode = error.code === 'BAD_OPTION' ? BAD_USAGE : FAILED;
});
