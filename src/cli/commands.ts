import { Command, CommanderError, Help, type Option } from 'commander';
import { KeyError } from '../errors.ts';
import { agentCommand } from './agent.ts';
import { auditCommand } from './audit.ts';
import { backupKeysCommand } from './backup-keys.ts';
import { devKmsCommand } from './dev-kms.ts';
import { doctorCommand } from './doctor.ts';
import { BAD_USAGE } from './exit-status.ts';
import { fileServiceCommand } from './file-service.ts';
import { initCommand } from './init.ts';
import { loginCommand } from './login.ts';
import { policyCommand } from './policy.ts';
import { failureAsJson } from './problems.ts';
import { processIo } from './process-io.ts';
import { rewrapCommand } from './rewrap.ts';
import { serverIdentityCommand } from './server-identity.ts';
import { verifyBackupCommand } from './verify-backup.ts';
import { VERSION_WITH_COMMIT } from './version.ts';

/** All verbs. Help, man pages and completion are made from it. */
export function createProgram(): Command {
  const program = new Command('mariadb-aws-kms')
    .description('MariaDB data-at-rest encryption with keys held by AWS KMS')
    .version(VERSION_WITH_COMMIT)
    .exitOverride();
  for (const verb of [
    agentCommand(),
    initCommand(processIo),
    doctorCommand(processIo),
    backupKeysCommand(processIo),
    verifyBackupCommand(processIo),
    rewrapCommand(processIo),
    auditCommand(processIo),
    policyCommand(processIo),
    loginCommand(processIo),
    devKmsCommand(processIo),
  ])
    program.addCommand(prepared(verb));
  for (const verb of [fileServiceCommand(), serverIdentityCommand()])
    program.addCommand(prepared(verb), { hidden: true });
  return program;
}

/** @throws what the command throws */
export async function runCommand(argv: readonly string[]): Promise<void> {
  const program = createProgram();
  const [, , verb, subject] = argv;
  try {
    // For an unknown command, Commander's `help` prints the general help and no error.
    if (verb === 'help' && subject !== undefined && subject !== 'help' && !isCommand(program, subject)) {
      program.error(`error: unknown command '${subject}'`);
    }
    await program.parseAsync(argv);
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    process.exitCode = thrown.exitCode === 0 ? 0 : BAD_USAGE;
    if (thrown.exitCode === 0) return;
    // Commander has printed its message already.
    const json = failureAsJson(argv, new KeyError('BAD_OPTION', thrown.message.replace(/^error: /, '')));
    if (json !== undefined) processIo.stdout(json, 'prepared');
  }
}

function prepared(command: Command): Command {
  return command.exitOverride().configureHelp({ optionDescription });
}

/** Commander shows empty defaults, too. */
function optionDescription(option: Option): string {
  const { defaultValue } = option;
  const isEmpty = defaultValue === '' || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return isEmpty ? option.description : Help.prototype.optionDescription(option);
}

function isCommand(program: Command, name: string): boolean {
  return name.startsWith('-') || program.commands.some((command) => command.name() === name);
}
