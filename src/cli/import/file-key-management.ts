import { Command } from 'commander';
import { KeyFileKeys } from '../../decrypt/key-file.ts';
import { readSmallFile } from '../../disk/small-file.ts';
import { KeyError } from '../../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../../format/encryption-algorithm.ts';
import { DIGESTS, type PassphraseUse } from '../../format/file-key-management.ts';
import { parseDecimal } from '../../ids.ts';
import { otherEncryptionPlugin } from '../../server/plugins-to-load.ts';
import type { ServerOptions } from '../../server/server-options.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import { algorithmNamed } from '../decrypt/key-source.ts';
import type { CliIo } from '../process-io.ts';
import { processSecrets } from '../system.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { IMPORT_HELP, importInto, type Source, type TargetOptions, targetOf, withTarget } from './target.ts';

interface FileKeyManagementOptions extends TargetOptions {
  readonly keyFile?: string;
  readonly filekey?: string;
  readonly digest?: string;
  readonly pbkdf2Rounds?: string;
  readonly algorithm?: EncryptionAlgorithm;
}

export const PLUGIN = 'file_key_management';

/** `mariadb-aws-kms import file-key-management`. @throws KeyError BAD_OPTION, KEY_FILE_…, and those of `importKeys` */
export function importFileKeyManagementCommand(
  io: CliIo,
  surroundings: () => Surroundings = systemSurroundings,
): Command {
  return withTarget(new Command('file-key-management'))
    .description(
      'take over the keys of file_key_management: the server changes to KMS with one restart, and no data is encrypted again',
    )
    .option('--key-file <file>', 'override file_key_management_filename')
    .option('--filekey <file>', 'file with the passphrase; overrides file_key_management_filekey')
    .option('--digest <name>', 'override file_key_management_digest of MariaDB 12.0 (default: sha1)')
    .option('--pbkdf2-rounds <number>', 'override file_key_management_use_pbkdf2 of MariaDB 12.0 (default: 0)')
    .option(
      '--algorithm <name>',
      'AES_CBC or AES_CTR: override file_key_management_encryption_algorithm, and what the data shows',
      algorithmNamed,
    )
    .addHelpText('after', IMPORT_HELP)
    .addHelpText(
      'after',
      `
Example:
  mariadb-aws-kms import file-key-management --key-file /etc/mysql/keys.enc --filekey /etc/mysql/passphrase \\
    --master-key-id alias/mariadb --region eu-central-1 --keyfile-dir /var/lib/mysql-keys --dry-run`,
    )
    .action(async (options: FileKeyManagementOptions) => {
      const outside = surroundings();
      const target = await targetOf(options, outside);
      const { keys, source } = await sourceOf(options, target.server.options);
      try {
        await importInto(io, options, outside, target, source);
      } finally {
        keys.wipe();
      }
    });
}

async function sourceOf(
  options: FileKeyManagementOptions,
  server: ServerOptions,
): Promise<{ readonly keys: KeyFileKeys; readonly source: Source }> {
  const configured = (name: string): string | undefined => server.last(`${PLUGIN}_${name}`);
  const path = options.keyFile ?? configured('filename');
  if (path === undefined)
    throw new KeyError('BAD_OPTION', 'no key file is named, and file_key_management_filename is not set', {
      hint: 'name it: --key-file FILE',
    });
  const written = configured('filekey');
  const file = options.filekey ?? (written?.startsWith('FILE:') === true ? written : undefined);
  const text = file === undefined && written !== undefined && written !== '' ? written : undefined;
  processSecrets.add(text);
  const passphrase = file !== undefined ? { file } : text === undefined ? undefined : { text };
  const keys = await KeyFileKeys.read(path, passphrase, readSmallFile, undefined, passphraseUse(options, configured));
  const hasPlugin = otherEncryptionPlugin(server) === PLUGIN;
  const source: Source = {
    command: 'import file-key-management',
    place: keys.place,
    keys: keys.keys,
    algorithm: options.algorithm ?? (hasPlugin ? algorithmOf(configured('encryption_algorithm')) : undefined),
    isAlgorithmSure: options.algorithm !== undefined,
    warnings: keys.warnings,
    change: {
      plugin: PLUGIN,
      destroy: [
        path,
        ...(file === undefined ? [] : [file.replace(/^FILE:/, '')]),
        ...(text === undefined ? [] : ['the passphrase in the line file_key_management_filekey']),
      ],
    },
  };
  return { keys, source };
}

/** The server takes names in any case, and their numbers. */
function algorithmOf(text = 'AES_CBC'): EncryptionAlgorithm | undefined {
  const written = text.toUpperCase();
  return ENCRYPTION_ALGORITHMS.find((name, index) => [name, `${index}`].includes(written));
}

function passphraseUse(
  options: FileKeyManagementOptions,
  configured: (name: string) => string | undefined,
): PassphraseUse {
  const written = (options.digest ?? configured('digest') ?? 'sha1').toLowerCase();
  const digest = DIGESTS.find((name) => name === written);
  if (digest === undefined)
    throw new KeyError('BAD_OPTION', `--digest: expected one of ${DIGESTS.join(', ')}, got "${written}"`);
  const rounds = options.pbkdf2Rounds ?? configured('use_pbkdf2') ?? '0';
  const pbkdf2Rounds = parseDecimal(rounds);
  if (pbkdf2Rounds === undefined)
    throw new KeyError('BAD_OPTION', `--pbkdf2-rounds: expected a number, got "${rounds}"`);
  return { digest, pbkdf2Rounds };
}
