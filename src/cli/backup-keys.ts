import { realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { keyNeedOf } from '../data/look.ts';
import type { FileSystem } from '../disk/file-system.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { isSystemTablespace } from '../format/innodb/tablespace.ts';
import { describeVersions } from '../format/manifest.ts';
import { type BackupRequest, type BackupResult, backUpKeys } from '../keystore/backup.ts';
import { backupNamedBy, keysNamedBy, type Named, storeUnavailable } from '../keystore/failures.ts';
import { openStore } from '../keystore/open-store.ts';
import { within } from '../kms/retry.ts';
import { printableJson } from '../printable.ts';
import type { Configuration } from '../server/configuration.ts';
import { dataLocations, lookAtServerData } from '../server/data-locations.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { FAILED } from './exit-status.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { keyPlaceOf, readServer } from './read-server.ts';
import { systemSurroundings } from './system-surroundings.ts';

const LOOK_MS = 60_000;

interface BackupKeysOptions extends OptionFileOptions {
  readonly to: string;
  readonly keyfileDir?: string;
  readonly datadir?: string;
  readonly json?: boolean;
}

/** `mariadb-aws-kms backup-keys`. @throws KeyError BAD_OPTION, and those of `backUpKeys` */
export function backupKeysCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withOptionFiles(new Command('backup-keys'))
    .description('copy the key files and a manifest into a backup; run it after the backup of the data')
    .requiredOption('--to <directory>', 'directory to copy into, created if missing')
    .option('--keyfile-dir <directory>', 'directory of the key files; the option files are then not read')
    .option('--datadir <directory>', 'override datadir')
    .option('--json', 'print the result as JSON: { from, to, added, keys, problems }')
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms backup-keys --to /backup/2030-01-01')
    .action(async (options: BackupKeysOptions) => {
      const outside = surroundings();
      const { from, named, needsNone } = await keysOf(options, outside, io);
      const to = resolve(options.to);
      const disk = diskOf(outside);
      const isMade = await makeDirectory(outside.files.keyDirectory, to, '--to');
      if ((await realpath(to)) === (await realpath(from).catch(() => from))) {
        throw new KeyError('BAD_OPTION', `--to: ${to} is the key directory itself`, {
          hint: 'name a directory that goes where the backups go',
        });
      }
      const request = {
        from: openStore(from, disk, named),
        to,
        toNamed: backupNamedBy('--to'),
        tool: `mariadb-aws-kms ${outside.release}`,
        needsNone,
      };
      const result = await backUpKeys(request, disk).catch(async (error: unknown) => {
        // A directory without keys would pass for a backup.
        if (isMade) await disk.fileSystem.rmdir(to).catch(() => undefined);
        throw error;
      });
      if (isMade && result.problems.length > 0) await disk.fileSystem.rmdir(to).catch(() => undefined);
      report(io, { from, to, isJson: options.json ?? false }, result);
      io.exit(result.problems.length === 0 ? 0 : FAILED);
    });
}

async function keysOf(
  options: BackupKeysOptions,
  surroundings: Surroundings,
  io: CliIo,
): Promise<{ readonly from: string; readonly named: Named; readonly needsNone?: BackupRequest['needsNone'] }> {
  if (options.keyfileDir !== undefined) {
    return { from: resolve(options.datadir ?? '.', options.keyfileDir), named: keysNamedBy('--keyfile-dir') };
  }
  const server = await readServer(options, { datadir: options.datadir, variables: {} }, surroundings);
  const { directory, named } = await keyPlaceOf(server, surroundings);
  if (server.isMock) {
    throw new KeyError(
      'BAD_OPTION',
      'the server is in mock mode, whose keys protect nothing: there is nothing to back up',
    );
  }
  return { from: directory, named, needsNone: () => needsNoKeys(server, surroundings, io) };
}

/**
 * Tells whether the server's data needs no keys. A data directory without a system tablespace proves nothing: its file
 * system may not be mounted, or a restore may be incomplete.
 */
async function needsNoKeys(
  server: Configuration,
  { files, clock }: Surroundings,
  io: CliIo,
): Promise<number | undefined> {
  const look = await within(clock, LOOK_MS, (late) => lookAtServerData(server, files.data, late));
  if (look.files === 0 || keyNeedOf(look) !== 'none' || !hasSystemTablespace(server, files.data)) return undefined;
  io.stderr(`note: no key is needed: none of the ${look.files} data files of ${server.datadir} is encrypted`);
  return look.files;
}

function hasSystemTablespace({ datadir, options }: Configuration, data: Surroundings['files']['data']): boolean {
  try {
    const [path] = dataLocations(datadir, (name) => options.last(name)).systemTablespace;
    const file = path === undefined ? undefined : data.open(path);
    if (file === undefined) return false;
    try {
      return isSystemTablespace(file.read);
    } finally {
      file.close();
    }
  } catch {
    return false;
  }
}

/** @returns true if the directory was created @throws KeyError STORE_UNAVAILABLE */
export async function makeDirectory(fs: FileSystem, path: string, option: string): Promise<boolean> {
  try {
    await fs.mkdir(path, 0o700);
    return true;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST') return false;
    const hint = code === 'ENOENT' ? `create ${dirname(path)} first, or correct ${option}` : undefined;
    throw storeUnavailable(path, 'create', error, backupNamedBy(option), hint);
  }
}

interface Reported {
  readonly from: string;
  readonly to: string;
  readonly isJson: boolean;
}

function report(io: CliIo, { from, to, isJson }: Reported, { manifest, added, problems }: BackupResult): void {
  const keys = new Set(manifest.keys.map(({ name }) => name.id)).size;
  if (isJson) {
    const versions = manifest.keys.map(({ name, encryptionAlgorithm }) => ({
      keyId: name.id,
      keyVersion: name.version,
      encryptionAlgorithm,
    }));
    io.stdout(printableJson({ from, to, added, keys: versions, problems: problemsAsJson(problems) }, 2), 'prepared');
    return;
  }
  printProblems(io, problems, 'not backed up: ');
  io.stdout(`${to}: ${keys} keys, ${describeVersions(manifest, 'versions')}; ${added} files added from ${from}`);
}
