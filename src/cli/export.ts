import { randomBytes } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { counted } from '../audit/amounts.ts';
import { wipe } from '../bytes.ts';
import { KeyDirectoryKeys } from '../decrypt/key-directory.ts';
import { KeyFileKeys } from '../decrypt/key-file.ts';
import { createNewFile } from '../disk/new-file.ts';
import { ownerOfPlace } from '../disk/place-owner.ts';
import { readSmallFile } from '../disk/small-file.ts';
import { KeyError } from '../errors.ts';
import { MAX_PASSPHRASE_BYTES, passphraseOf } from '../format/file-key-management.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { type ExportableKeys, exportableKeys, keyFileText, sealKeyFile } from '../import/export-file.ts';
import { proofIn } from '../import/prove.ts';
import { openStore } from '../keystore/open-store.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import { OperatorCaller } from '../kms/operator-caller.ts';
import { printableJson } from '../printable.ts';
import type { Configuration } from '../server/configuration.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { type AuditLogOptions, audited, withAuditLog } from './audited.ts';
import { linesOf } from './import/change.ts';
import { PLUGIN } from './import/file-key-management.ts';
import { connectAsCaller, readKeyServer } from './key-commands.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { type KeyPlace, namedKeyPlace } from './read-server.ts';
import { serverData } from './server-data.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface ExportOptions extends OptionFileOptions, AuditLogOptions {
  readonly to: string;
  readonly writeDataKeys?: boolean;
  readonly filekey?: string;
  readonly datadir?: string;
  readonly keyfileDir?: string;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly encryptionContext?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const OURS = 'aws_key_management';
const HELP = `
Exit status:
  0  the file is there, and was read back as the server reads it
  1  the keys cannot be expressed in that plugin's file, or do not open the data, or KMS refused; there is no file
  2  bad usage

AWS actions:
  kms:Decrypt on the master keys, for the identity of whoever runs this

Example:
  mariadb-aws-kms export file-key-management --to /etc/mysql/keys.enc --filekey /etc/mysql/passphrase --write-data-keys`;

/** `mariadb-aws-kms export`. */
export function exportCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  const command = new Command('export').description('write data keys for another key management plugin: the way out');
  command.addCommand(exportFileKeyManagementCommand(io, surroundings));
  return command;
}

/** @throws KeyError BAD_OPTION, KEY_NOT_ALLOWED, KEY_UNKNOWN, DATA_UNREADABLE, STORE_UNAVAILABLE, KMS_… */
function exportFileKeyManagementCommand(io: CliIo, surroundings: () => Surroundings): Command {
  return withAuditLog(withOptionFiles(new Command('file-key-management')))
    .description(
      'write the key file of file_key_management, with the data keys: it protects them no longer than itself',
    )
    .requiredOption('--to <file>', 'new file, which its owner alone may read')
    .option('--write-data-keys', 'required: the file holds the data keys, and KMS does not protect them any more')
    .option('--filekey <file>', 'encrypt the file with the passphrase in this file, as the server reads it')
    .option('--datadir <directory>', 'override datadir: the data on which the keys are proved')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option(
      '--encryption-context <pairs>',
      'override aws_key_management_encryption_context; for keys without a sidecar',
    )
    .option('--dry-run', 'unwrap the keys, prove them on the data, and write nothing')
    .option(
      '--json',
      'print the result as JSON: { ok, file, dryRun, encrypted, algorithm, keys, left, proved, remove, add }',
    )
    .addHelpText('after', HELP)
    .action(async (options: ExportOptions) => {
      const outside = surroundings();
      const to = resolve(options.to);
      if (options.writeDataKeys !== true && options.dryRun !== true)
        throw new KeyError('BAD_OPTION', 'the file would hold the data keys, and whoever reads it reads the data', {
          hint: 'if that is wanted: --write-data-keys; to look first: --dry-run',
        });
      await refusePlaceOfOthers(to, outside);
      const interrupted = new AbortController();
      const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted')));
      try {
        await exportKeys(io, options, to, outside, interrupted.signal);
      } finally {
        forget();
      }
    });
}

async function exportKeys(
  io: CliIo,
  options: ExportOptions,
  to: string,
  outside: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const { server, place } = await serverOf(options, outside);
  const store = openStore(place.directory, diskOf(outside), place.named);
  let kms: KmsInspector | undefined;
  const keys = new KeyDirectoryKeys({
    store,
    context: server.context,
    clock: outside.clock,
    connect: async () => {
      // The identity is that of the user who runs this.
      kms = await connectAsCaller(server, outside);
      return new OperatorCaller(kms, outside);
    },
  });
  try {
    const { stored } = await store.list();
    const uses = await usesOf(io, options, keys, stored, outside, signal);
    const found = await exportableKeys(stored, uses, keys);
    signal.throwIfAborted();
    let statusOf = (status: number): number => status;
    if (options.dryRun !== true) {
      const about = { file: to, directory: place.directory, isEncrypted: options.filekey !== undefined };
      const keyVersions = found.keys.map(({ id, version }) => `${id}.${version}`);
      const log = { io, outside, options };
      ({ statusOf } = await audited(log, 'export file-key-management', { ...about, keyVersions }, async () => {
        await write(to, options.filekey, found, outside);
        return { outcome: 'done', facts: { keyVersions: keyVersions.length }, value: undefined };
      }));
    }
    report(io, options, to, server, uses, found);
    io.exit(statusOf(0));
  } finally {
    keys.wipe();
    kms?.close();
  }
}

async function serverOf(
  options: ExportOptions,
  outside: Surroundings,
): Promise<{ readonly server: Configuration; readonly place: KeyPlace }> {
  const server = await readKeyServer(options, outside);
  if (server.isMock) throw new KeyError('BAD_OPTION', 'the server is in mock mode, whose keys cannot be read here');
  return { server, place: await namedKeyPlace(server, options.keyfileDir, outside) };
}

/** Decrypts all data of the server, and returns the key versions that it is under. */
async function usesOf(
  io: CliIo,
  options: ExportOptions,
  keys: KeyDirectoryKeys,
  stored: readonly KeyName[],
  outside: Surroundings,
  signal: AbortSignal,
) {
  const verify = await serverData(io, 'export', options, outside, signal);
  const data = await verify(keys);
  const [problem] = data.keyProblems;
  if (problem !== undefined && problem.code !== 'KEY_UNKNOWN') throw problem;
  const has = (id: number, version: number): boolean => stored.some((key) => key.id === id && key.version === version);
  const { uses, incomplete } = proofIn(data, keys.place, has);
  const [first] = incomplete;
  if (first === undefined) return uses;
  throw new KeyError('DATA_UNREADABLE', `not proved: ${first}`, {
    hint: 'without it nothing shows which key versions the data needs; run this as root',
  });
}

/** The key file is read back as the server reads it, before it gets its name. */
async function write(
  to: string,
  filekey: string | undefined,
  { keys }: ExportableKeys,
  { random }: Surroundings,
): Promise<void> {
  const text = keyFileText(keys);
  const file = createNewFile(to, random);
  try {
    const sealed = filekey === undefined ? undefined : await seal(text, filekey);
    file.write(sealed ?? text, 0);
    const written = Buffer.alloc((sealed ?? text).length);
    file.read(written, 0);
    const passphrase = filekey === undefined ? undefined : { file: filekey };
    const back = await KeyFileKeys.read(to, passphrase, async (path, most) =>
      path === to ? written : await readSmallFile(path, most),
    );
    try {
      const isSame = keys.every(({ id, bytes }) => back.keys.some((key) => key.id === id && key.bytes.equals(bytes)));
      if (!isSame || back.keys.length !== keys.length || back.warnings.length > 0)
        throw new Error('the key file reads otherwise than it was written');
    } finally {
      back.wipe();
    }
    await file.complete();
  } finally {
    wipe(text);
    file.close();
  }
}

async function seal(text: Buffer, filekey: string): Promise<Buffer> {
  const path = filekey.replace(/^FILE:/, '');
  const secret = await readSmallFile(path, MAX_PASSPHRASE_BYTES + 2).catch((cause: unknown) => {
    throw new KeyError('KEY_FILE_UNREADABLE', '--filekey: cannot read the file that it names', { cause });
  });
  try {
    return sealKeyFile(text, passphraseOf(secret), randomBytes(8));
  } finally {
    wipe(secret);
  }
}

/** Refuses a directory whose owner could take the place of the file away from root. */
async function refusePlaceOfOthers(to: string, { uid }: Surroundings): Promise<void> {
  if (uid !== 0) return;
  const owner = await ownerOfPlace(dirname(to));
  if (owner.uid === 0 && !owner.isShared) return;
  throw new KeyError(
    'BAD_OPTION',
    `--to: ${dirname(to)} belongs to user ${owner.uid}: root writes no data keys there`,
    {
      hint: 'name a directory of root, such as /root, and move the file when it has its owner',
    },
  );
}

function report(
  io: CliIo,
  { dryRun = false, json, filekey }: ExportOptions,
  to: string,
  server: Configuration,
  proved: Awaited<ReturnType<typeof usesOf>>,
  { keys, algorithm, left }: ExportableKeys,
): void {
  const remove = linesOf(server, OURS);
  const add = [
    `plugin_load_add = ${PLUGIN}`,
    `${PLUGIN}_filename = ${to}`,
    ...(filekey === undefined ? [] : [`${PLUGIN}_filekey = FILE:${resolve(filekey.replace(/^FILE:/, ''))}`]),
    ...(algorithm === 'AES_CBC' ? [] : [`${PLUGIN}_encryption_algorithm = ${algorithm}`]),
  ];
  if (json === true) {
    const about = { ok: true, file: to, dryRun, encrypted: filekey !== undefined, algorithm };
    const lists = {
      keys: keys.map(({ id, version }) => ({ keyId: id, keyVersion: version })),
      left: left.map(({ id, version }) => ({ keyId: id, keyVersion: version })),
    };
    io.stdout(printableJson({ ...about, ...lists, proved, remove, add }, 2), 'prepared');
    return;
  }
  const did = dryRun ? 'would be written' : 'written';
  io.stdout(`${to}: ${counted(keys.length, 'data key')} ${did}, ${filekey === undefined ? 'in clear' : 'encrypted'}`);
  for (const name of left) io.stderr(`mariadb-aws-kms: note: not exported, and no data needs it: ${describeKey(name)}`);
  for (const line of remove.length === 0 ? [] : ['Take out of the option files:', ...remove.map((text) => `  ${text}`)])
    io.stdout(line);
  io.stdout('Write into the option file of the server, below [mariadb]:');
  for (const line of add) io.stdout(`  ${line}`);
  const { name } = server.account;
  const secret = filekey === undefined ? to : `${to} ${resolve(filekey.replace(/^FILE:/, ''))}`;
  io.stdout(`Then let the server read it, and restart it: chown ${name} ${secret}`);
}
