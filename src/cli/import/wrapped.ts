import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { wipe } from '../../bytes.ts';
import { readSmallFile } from '../../disk/small-file.ts';
import { KeyError, systemErrorCode } from '../../errors.ts';
import type { EncryptionAlgorithm } from '../../format/encryption-algorithm.ts';
import { parseEncryptionContext } from '../../format/encryption-context.ts';
import { denied } from '../../import/import-keys.ts';
import { openWrapped, type WrappedFile, wrappedBytes, wrappedFileName } from '../../import/wrapped-files.ts';
import { OperatorCaller } from '../../kms/operator-caller.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import { algorithmNamed } from '../decrypt/key-source.ts';
import { connectAsCaller } from '../key-commands.ts';
import type { CliIo } from '../process-io.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { IMPORT_HELP, importInto, type Target, type TargetOptions, targetOf, withTarget } from './target.ts';

interface WrappedOptions extends TargetOptions {
  readonly from: string;
  readonly wrappedContext?: string;
  readonly algorithm?: EncryptionAlgorithm;
}

/** `mariadb-aws-kms import wrapped`. @throws KeyError BAD_OPTION, KEY_FILE_…, KMS_…, and those of `importKeys` */
export function importWrappedCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withTarget(new Command('wrapped'))
    .description("take over data keys that someone wrapped with AWS's command line")
    .requiredOption('--from <directory>', 'directory of files ID.VERSION, each a CiphertextBlob, as bytes or as base64')
    .option('--wrapped-context <pairs>', 'encryption context that the files were wrapped with (default: none)')
    .option('--algorithm <name>', 'AES_CBC or AES_CTR: override what the data shows', algorithmNamed)
    .addHelpText('after', IMPORT_HELP)
    .addHelpText(
      'after',
      `
Example:
  aws kms encrypt --key-id alias/mariadb --plaintext fileb://key1.bin --query CiphertextBlob --output text > keys/1.1
  mariadb-aws-kms import wrapped --from keys --master-key-id alias/mariadb --keyfile-dir /var/lib/mysql-keys`,
    )
    .action(async (options: WrappedOptions) => {
      const outside = surroundings();
      const target = await targetOf(options, outside);
      const directory = resolve(options.from);
      const files = await filesIn(directory, outside);
      const keys = await unwrap(files, options, target, outside);
      try {
        await importInto(io, options, outside, target, {
          command: 'import wrapped',
          place: directory,
          keys,
          algorithm: options.algorithm,
          isAlgorithmSure: options.algorithm !== undefined,
          warnings: [],
          change: {
            plugin: 'file_key_management',
            destroy: ['the data keys in clear that these files were made from'],
          },
        });
      } finally {
        for (const { bytes } of keys) wipe(bytes);
      }
    });
}

async function filesIn(directory: string, { files }: Surroundings): Promise<readonly WrappedFile[]> {
  const entries = await files.keyDirectory.readdir(directory).catch((cause: unknown) => {
    throw new KeyError('BAD_OPTION', `--from: cannot list ${directory}: ${systemErrorCode(cause) ?? String(cause)}`);
  });
  const found: WrappedFile[] = [];
  for (const file of [...entries].sort()) {
    const name = wrappedFileName(file);
    if (name === undefined) {
      if (file.endsWith('.json')) continue;
      throw new KeyError('BAD_OPTION', `--from: ${file} in ${directory} is not named ID.VERSION`, {
        hint: 'rename it, such as 1.1 for key 1 version 1, or move it away',
      });
    }
    const bytes = await readSmallFile(join(directory, file)).catch((cause: unknown) => {
      const code = systemErrorCode(cause) ?? 'no file';
      throw new KeyError('KEY_FILE_UNREADABLE', `cannot read ${join(directory, file)}: ${code}`, { cause });
    });
    found.push({ name, file, wrapped: wrappedBytes(join(directory, file), bytes) });
  }
  if (found.length === 0) throw new KeyError('KEY_UNKNOWN', `no file named ID.VERSION is in ${directory}`);
  return found;
}

async function unwrap(
  files: readonly WrappedFile[],
  options: WrappedOptions,
  { server }: Target,
  outside: Surroundings,
): Promise<Awaited<ReturnType<typeof openWrapped>>> {
  const context = parseEncryptionContext(options.wrappedContext ?? '');
  const kms = await connectAsCaller(server, outside);
  try {
    const { signal } = new AbortController();
    const caller = new OperatorCaller(kms, outside);
    return await openWrapped(files, context, { kms: caller, clock: outside.clock, signal }).catch(denied);
  } finally {
    kms.close();
  }
}
