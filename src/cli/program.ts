/** The command line without its verbs. */
import { Command, Help, type Option } from 'commander';
import { VERSION_WITH_COMMIT } from './version.ts';

export function emptyProgram(): Command {
  return new Command('mariadb-aws-kms')
    .description('MariaDB data-at-rest encryption with keys held by AWS KMS')
    .version(VERSION_WITH_COMMIT)
    .exitOverride();
}

export function prepared(command: Command): Command {
  command.commands.forEach(prepared);
  return command.exitOverride().configureHelp({ optionDescription });
}

/** Commander shows empty defaults, too. */
function optionDescription(option: Option): string {
  const { defaultValue } = option;
  const isEmpty = defaultValue === '' || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return isEmpty ? option.description : Help.prototype.optionDescription(option);
}
