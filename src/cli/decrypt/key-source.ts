/** The options that say where the keys of encrypted files come from, and the keys that they name. */
import type { Command } from 'commander';
import type { DataKeys } from '../../decrypt/data-keys.ts';
import { KeyDirectoryKeys } from '../../decrypt/key-directory.ts';
import { KeyFileKeys } from '../../decrypt/key-file.ts';
import { readSmallFile } from '../../disk/small-file.ts';
import { KeyError } from '../../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../../format/encryption-algorithm.ts';
import { openStore } from '../../keystore/open-store.ts';
import type { KmsInspector } from '../../kms/inspect.ts';
import { OperatorCaller } from '../../kms/operator-caller.ts';
import type { Configuration } from '../../server/configuration.ts';
import { kmsTarget } from '../../server/kms-target.ts';
import { adoptEnvironment } from '../../server/service/server-environment.ts';
import { diskOf, type Surroundings } from '../../server/surroundings.ts';
import { readKeyServer } from '../key-commands.ts';
import { type OptionFileOptions, withOptionFiles } from '../option-files.ts';
import type { CliIo } from '../process-io.ts';
import { asKeyOwner, namedKeyPlace } from '../read-server.ts';

export interface KeySourceOptions extends OptionFileOptions {
  readonly datadir?: string;
  readonly keyfileDir?: string;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly encryptionContext?: string;
  readonly keyFile?: string;
  readonly filekey?: string;
  readonly algorithm?: EncryptionAlgorithm;
}

/** Options that say nothing of a key file. */
const OF_KEY_DIRECTORY = {
  keyfileDir: '--keyfile-dir',
  region: '--region',
  endpointUrl: '--endpoint-url',
  encryptionContext: '--encryption-context',
} as const satisfies Partial<Record<keyof KeySourceOptions, string>>;

const CALL_MS = 5_000;

/** Adds the options of `withDataKeys`. */
export function withKeySource(command: Command): Command {
  return withOptionFiles(command)
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option(
      '--encryption-context <pairs>',
      'override aws_key_management_encryption_context; used for keys without a sidecar',
    )
    .option('--key-file <file>', 'take the keys from this key file of file_key_management, without KMS')
    .option('--filekey <file>', 'file with the passphrase that the key file is encrypted with')
    .option(
      '--algorithm <name>',
      'AES_CBC or AES_CTR: file_key_management_encryption_algorithm, if the data does not show it',
      algorithmNamed,
    );
}

export function algorithmNamed(text: string): EncryptionAlgorithm {
  const found = ENCRYPTION_ALGORITHMS.find((algorithm) => algorithm === text.toUpperCase());
  if (found === undefined) throw new KeyError('BAD_OPTION', `--algorithm: expected AES_CBC or AES_CTR, got ${text}`);
  return found;
}

/**
 * Calls `work` with the keys that the options name, and wipes them afterwards. KMS is connected to when the first key of
 * a key directory is needed.
 * @throws KeyError what `work` throws, and BAD_OPTION, KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT of the options
 */
export async function withDataKeys<T>(
  io: Pick<CliIo, 'stderr'>,
  options: KeySourceOptions,
  outside: Surroundings,
  work: (keys: DataKeys) => Promise<T>,
): Promise<T> {
  if (options.keyFile !== undefined) {
    for (const [name, option] of Object.entries(OF_KEY_DIRECTORY))
      if (name in options)
        throw new KeyError('BAD_OPTION', `${option} and --key-file exclude each other: keys come from one place`);
    const { keyFile, filekey, algorithm } = options;
    const keys = await KeyFileKeys.read(
      keyFile,
      filekey === undefined ? undefined : { file: filekey },
      readSmallFile,
      algorithm && [algorithm],
    );
    for (const warning of keys.warnings) io.stderr(`mariadb-aws-kms: warning: ${options.keyFile}: ${warning}`);
    return await wiping(keys, work);
  }
  if (options.filekey !== undefined)
    throw new KeyError('BAD_OPTION', '--filekey is the passphrase of a key file, and --key-file names none');
  if (options.algorithm !== undefined)
    throw new KeyError('BAD_OPTION', '--algorithm is that of a key file: the keys of a key directory have their own');
  const server = await serverOf(options, outside);
  const place = await namedKeyPlace(server, options.keyfileDir, outside);
  let kms: KmsInspector | undefined;
  const keys = new KeyDirectoryKeys({
    store: openStore(place.directory, diskOf(outside), place.named),
    context: server.context,
    clock: outside.clock,
    connect: async () => {
      kms = await connect(server, outside);
      return new OperatorCaller(kms, outside);
    },
  });
  try {
    return await wiping(keys, work);
  } finally {
    kms?.close();
  }
}

async function serverOf(options: KeySourceOptions, outside: Surroundings): Promise<Configuration> {
  const server = await readKeyServer(options, outside);
  if (!server.isMock) return server;
  throw new KeyError('BAD_OPTION', 'the server is in mock mode, whose keys protect nothing, and cannot be read here');
}

/** Connects as the server does, or as its separate agent. */
async function connect(configuration: Configuration, outside: Surroundings): Promise<KmsInspector> {
  const server = await asKeyOwner(configuration, outside);
  // The environment is completed before anything connects, because the credential chain reads it.
  adoptEnvironment(outside.environment, server.service, outside.uid === 0 && server.account.uid === 0);
  return await outside.connectKms(kmsTarget(outside, server, CALL_MS));
}

async function wiping<T>(keys: DataKeys, work: (keys: DataKeys) => Promise<T>): Promise<T> {
  try {
    return await work(keys);
  } finally {
    keys.wipe();
  }
}
