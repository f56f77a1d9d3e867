import { Command } from 'commander';
import type { CliIo } from '../process-io.ts';
import { importFileKeyManagementCommand } from './file-key-management.ts';
import { importVaultCommand } from './vault.ts';
import { importWrappedCommand } from './wrapped.ts';

/** `mariadb-aws-kms import`: a verb for each key management that keys come from. */
export function importCommand(io: CliIo): Command {
  const command = new Command('import').description(
    'bring existing data keys under KMS: of another key management plugin, or wrapped by hand',
  );
  for (const source of [importFileKeyManagementCommand(io), importVaultCommand(io), importWrappedCommand(io)])
    command.addCommand(source);
  return command;
}
