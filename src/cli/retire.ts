import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { isComplete } from '../audit/report.ts';
import { KeyError } from '../errors.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { latestVersions } from '../keyring/versions.ts';
import { restoreFiles, retireFiles } from '../keystore/retired.ts';
import { type NeedOfVersion, needsOfVersion } from '../operate/retire/needs.ts';
import { printableJson } from '../printable.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { type AuditLogOptions, audited, withAuditLog } from './audited.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import { type KeyStores, keyStores, parseKeyVersion, withKeyPlace } from './key-versions.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { auditServer } from './server-audit.ts';
import { systemSurroundings } from './system-surroundings.ts';
import { tableLines } from './tables.ts';

interface RetireOptions extends OptionFileOptions, AuditLogOptions {
  readonly datadir?: string;
  readonly keyfileDir?: string;
  readonly undo?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

const NOT_LOOKED_AT = 'archived logs, backups, replicas, other nodes and copies: they may need the version';
const NAMED = 10;
const HELP = `
The files move to .aws-kms-retired in the key directory and are never deleted. A server that runs keeps the key until it
ends. Other Galera nodes and replicas have key directories of their own: retire the version there, too.

Exit status:
  0  retired, or nothing found here needs the version
  1  something here needs the version to start or to read, or it is the latest of its key id
  2  bad usage
  3  INCOMPLETE: not all data could be read, and the version was not retired

Example:
  mariadb-aws-kms retire 1.2
  mariadb-aws-kms retire 1.2 --yes
  mariadb-aws-kms retire --undo 1.2`;

/** `mariadb-aws-kms retire`. @throws KeyError BAD_OPTION, KEY_UNKNOWN, STORE_UNAVAILABLE, AUDIT_LOG_UNUSABLE */
export function retireCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withAuditLog(withKeyPlace(withOptionFiles(new Command('retire'))))
    .description('tell what still needs a key version and how to end that; with --yes, take the version out of use')
    .argument('<version>', 'the key version, such as 1.2')
    .option('--yes', 'move its files away if nothing here needs it to start or to read')
    .option('--undo', 'move the files of a retired version back')
    .option('--dry-run', 'tell what would be done, and move nothing')
    .option('--quiet', 'print nothing but what keeps the version from being retired')
    .option('--json', 'print the result as JSON: { ok, keyId, keyVersion, outcome, needs, notRead, notLookedAt }')
    .addHelpText('after', HELP)
    .action(async (text: string, options: RetireOptions) => {
      const outside = surroundings();
      const { id, version } = parseKeyVersion(text);
      if (version === undefined)
        throw new KeyError('BAD_OPTION', `expected KEY-ID.VERSION such as ${id}.1, got "${text}"`);
      // The data and the keys must be those of one server.
      if (options.yes && options.datadir !== undefined)
        throw new KeyError(
          'BAD_OPTION',
          '--yes and --datadir: the data of another place tells nothing of this server',
          {
            hint: "name the server's option file: --defaults-file FILE",
          },
        );
      const name = { id, version };
      const variables = { keyfile_dir: options.keyfileDir && resolve(options.keyfileDir) };
      const server = await readServer(options, { datadir: options.datadir, variables }, outside);
      const stores = await keyStores(server, options.keyfileDir, outside);
      const run = { name, options, outside, io, stores };
      if (options.undo) await undo(run);
      else await retire(run);
    });
}

interface Run {
  readonly name: KeyName;
  readonly options: RetireOptions;
  readonly outside: Surroundings;
  readonly io: CliIo;
  readonly stores: KeyStores;
}

async function retire(run: Run): Promise<void> {
  const { name, options, outside, io, stores } = run;
  const { stored, retired, lost } = await stores.store.list();
  const has = (names: readonly KeyName[]): boolean =>
    names.some(({ id, version }) => id === name.id && version === name.version);
  if (!has(stored) && !has(retired))
    throw new KeyError('KEY_UNKNOWN', `${describeKey(name)} is not in ${stores.directory}`, {
      hint: `mariadb-aws-kms list --key-id ${name.id}`,
    });
  if (
    latestVersions({ stored, retired, lost, strays: [], temporaries: [], isSidecarComing: false }).get(name.id) ===
    name.version
  )
    throw new KeyError(
      'BAD_OPTION',
      `${describeKey(name)} is the latest of its key id, which new data is written with`,
      {
        hint: `make a later one first: SET GLOBAL aws_key_management_rotate_key=${name.id}`,
      },
    );
  const audit = await auditServer(options, outside, io);
  const needs = needsOfVersion(name, audit.files);
  const blocking = needs.filter(({ need }) => need === 'start' || need === 'read');
  const isWhole = isComplete(audit);
  const mayMove = blocking.length === 0 && isWhole;
  let [isMoved, status] = [false, blocking.length > 0 ? FAILED : isWhole ? 0 : INCOMPLETE];
  if (mayMove && options.yes && !options.dryRun) {
    const about = { keyId: name.id, keyVersion: name.version, directory: stores.directory };
    const done = await audited(run, 'retire', about, async () => {
      await claimed(run, () => retireFiles(name, stores.directory, diskOf(outside).fileSystem, stores.store.named));
      return { outcome: 'done', facts: {}, value: undefined };
    });
    [isMoved, status] = [true, done.statusOf(0)];
  }
  const outcome = isMoved ? 'retired' : mayMove ? 'not needed here' : blocking.length > 0 ? 'needed' : 'incomplete';
  if (options.json) {
    const { id: keyId, version: keyVersion } = name;
    const { directory } = stores;
    const notLookedAt = NOT_LOOKED_AT;
    const answer = {
      ok: status === 0,
      keyId,
      keyVersion,
      directory,
      outcome,
      needs,
      notRead: audit.unseen,
      notLookedAt,
    };
    io.stdout(printableJson(answer, 2), 'prepared');
  } else await report(run, { needs, unseen: audit.unseen, isMoved, mayMove });
  io.exit(status);
}

/** Moves files while no rewrap replaces any. @throws KeyError KEY_EXISTS when one is running, and what `move` throws */
async function claimed({ io, stores }: Run, move: () => Promise<void>): Promise<void> {
  const holder = { host: hostname(), pid: process.pid };
  const claim = await stores.store.claimForRewrap(holder, (line) => io.stderr(`mariadb-aws-kms: note: ${line}`));
  try {
    await move();
  } finally {
    await claim.release();
  }
}

interface Found {
  readonly needs: readonly NeedOfVersion[];
  readonly unseen: readonly { readonly path: string; readonly reason: string }[];
  readonly isMoved: boolean;
  readonly mayMove: boolean;
}

async function report({ name, options, io, stores }: Run, { needs, unseen, isMoved, mayMove }: Found): Promise<void> {
  const shown = options.quiet ? needs.filter(({ need }) => need === 'start' || need === 'read') : needs;
  const rows = shown
    .slice(0, NAMED)
    .map(({ need, file, kind, pages }) => [need, kind, pages === 0 ? '-' : `${pages}`, file]);
  const columns = [
    { heading: 'NEEDED' },
    { heading: 'BY' },
    { heading: 'PAGES', isNumber: true },
    { heading: 'FILE', shorten: 'middle' as const },
  ];
  for (const line of await tableLines(columns, rows, { width: io.columns, indent: 2 })) io.stdout(line);
  if (shown.length > NAMED) io.stdout(`  and ${shown.length - NAMED} more: --json has all`);
  for (const cure of new Set(shown.map((each) => each.cure))) io.stdout(`  to end it: ${cure}`);
  for (const { path, reason } of unseen.slice(0, NAMED)) io.stderr(`mariadb-aws-kms: not read: ${path}: ${reason}`);
  if (options.quiet) return;
  if (isMoved) io.stdout(`${describeKey(name)}: retired: its files are in ${stores.retired.place}`);
  else if (mayMove)
    io.stdout(`${describeKey(name)}: nothing found here needs it to start or to read; --yes retires it`);
  else io.stdout(`${describeKey(name)}: not retired`);
  io.stdout(`Not looked at: ${NOT_LOOKED_AT}.`);
}

async function undo(run: Run): Promise<void> {
  const { name, options, outside, io, stores } = run;
  const isOf = ({ id, version }: KeyName): boolean => id === name.id && version === name.version;
  const { stored, retired } = await stores.store.list();
  if (!retired.some(isOf)) {
    const where = stored.some(isOf) ? 'is not retired' : `is not in ${stores.retired.place}`;
    throw new KeyError('KEY_UNKNOWN', `${describeKey(name)} ${where}`, { hint: 'mariadb-aws-kms list' });
  }
  let status = 0;
  if (!options.dryRun) {
    const about = { keyId: name.id, keyVersion: name.version, directory: stores.directory };
    const done = await audited(run, 'retire --undo', about, async () => {
      await claimed(run, () => restoreFiles(name, stores.directory, diskOf(outside).fileSystem, stores.store.named));
      return { outcome: 'done', facts: {}, value: undefined };
    });
    status = done.statusOf(0);
  }
  const did = options.dryRun ? 'would be moved back' : 'moved back';
  if (options.json)
    io.stdout(
      printableJson({ ok: status === 0, keyId: name.id, keyVersion: name.version, outcome: did }, 2),
      'prepared',
    );
  else if (!options.quiet)
    io.stdout(`${describeKey(name)}: ${did} to ${stores.directory}; a server that runs fetches it when data needs it`);
  io.exit(status);
}
