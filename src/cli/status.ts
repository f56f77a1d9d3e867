import { resolve } from 'node:path';
import { Command } from 'commander';
import { counted } from '../audit/amounts.ts';
import { NEED_CLASSES } from '../audit/needs.ts';
import { type ServerView, type SpacesOfVersion, stillBecause } from '../operate/status/server-view.ts';
import { printableJson } from '../printable.ts';
import type { SqlFlags } from '../server/sql-target.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { PlaceOptions } from './audit-places.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import {
  type DiskPart,
  diskPart,
  type Part,
  partOf,
  type StoredPart,
  serverPart,
  startPart,
  storedPart,
} from './key-state.ts';
import { versionJson, withKeyPlace } from './key-versions.ts';
import { isBroken } from './list.ts';
import { withOptionFiles } from './option-files.ts';
import { problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { withServerConnection } from './server-connection.ts';
import { systemSurroundings } from './system-surroundings.ts';
import { tableLines } from './tables.ts';

interface StatusOptions extends PlaceOptions, SqlFlags {
  /** False with --no-audit. */
  readonly audit: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

const HELP = `
SQL privileges:
  PROCESS, for what the running server says

AWS actions:
  none is needed; those that the server's identity has are tried with DryRun

Exit status:
  0  nothing found that would stop the next start
  1  something would stop it
  2  bad usage
  3  INCOMPLETE: something could not be looked at

Example:
  mariadb-aws-kms status --no-audit`;
/** Lines of a terminal for key ids, and for what would stop a start. */
const [MOST_IDS, MOST_PROBLEMS] = [8, 4];

/** `mariadb-aws-kms status`. @throws KeyError BAD_OPTION */
export function statusCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withServerConnection(withKeyPlace(withOptionFiles(new Command('status'))))
    .description('tell on one screen which key versions there are, what is under which, and what would stop a start')
    .option('--no-audit', 'do not read the data files, which takes as long as reading them')
    .option('--quiet', 'print nothing but what would stop the next start')
    .option(
      '--json',
      'print the result as JSON: { ok, complete, keys, server, disk, start }, each { problem } if unseen',
    )
    .addHelpText('after', HELP)
    .action(async (options: StatusOptions) => {
      const outside = surroundings();
      const variables = { keyfile_dir: options.keyfileDir && resolve(options.keyfileDir) };
      const server = await readServer(options, { datadir: options.datadir, variables }, outside);
      const keys = await partOf(() => storedPart(server, options.keyfileDir, outside));
      const running = await partOf(() => serverPart(options, server, outside));
      const disk = options.audit ? await partOf(() => diskPart(options, outside, io)) : undefined;
      const start = await startPart(server, outside);
      const stops = [
        ...start.filter(({ status }) => status === 'failure').map(({ check, found }) => `${check}: ${found}`),
        ...missingToStart(keys, disk),
      ];
      const gaps = [
        ...reason('keys', keys),
        ...reason('running server', running),
        ...reason('data files', disk),
        ...(disk !== undefined && 'value' in disk && !disk.value.isComplete
          ? ['data files: not all could be read']
          : []),
        ...start
          .filter(({ isGap, check }) => isGap && check !== 'unwrap')
          .map(({ check, found }) => `${check}: ${found}`),
      ];
      const exit = stops.length > 0 ? FAILED : gaps.length > 0 ? INCOMPLETE : 0;
      if (options.json) {
        const told = {
          ok: stops.length === 0,
          complete: gaps.length === 0,
          keys: json(keys, ({ directory, versions }) => ({ directory, versions: versions.map(versionJson) })),
          server: json(running, (view) => view),
          disk: disk && json(disk, ({ needs, unseen }) => ({ keyVersions: needs, notRead: unseen })),
          start: { stops, findings: start },
          notLookedAt: gaps,
        };
        io.stdout(printableJson(told, 2), 'prepared');
      } else {
        const lines = options.quiet ? [] : await screen(keys, running, disk, io.columns);
        for (const line of lines) io.stdout(line);
        for (const line of atMost(stops, 'more problem')) io.stdout(line);
        if (!options.quiet && stops.length === 0) io.stdout('Next start: nothing found that stops it');
        for (const line of atMost(gaps, 'more part')) io.stdout(`Not looked at: ${line}`);
      }
      io.exit(exit);

      function atMost(all: readonly string[], one: string): readonly string[] {
        const cut = all.map((line) =>
          io.columns === undefined ? line : line.slice(0, Math.max(79, io.columns - 1) - 15),
        );
        if (cut.length <= MOST_PROBLEMS) return cut;
        return [...cut.slice(0, MOST_PROBLEMS - 1), `${counted(cut.length - MOST_PROBLEMS + 1, one)}: --json has all`];
      }
    });
}

function reason(what: string, part: Part<unknown> | undefined): readonly string[] {
  return part !== undefined && 'problem' in part ? [`${what}: ${part.problem.message}`] : [];
}

function json<T>(part: Part<T>, member: (value: T) => unknown): unknown {
  return 'value' in part ? member(part.value) : { problem: problemsAsJson([part.problem])[0] };
}

/** Versions that data needs and that are not stored. */
function missingToStart(keys: StoredKeys, disk: Part<DiskPart> | undefined): readonly string[] {
  if ('problem' in keys || disk === undefined || 'problem' in disk) return [];
  const there = new Set(
    keys.value.versions
      .filter((each) => !isBroken(each) && each.state !== 'retired')
      .map(({ name }) => `${name.id}.${name.version}`),
  );
  return disk.value.needs
    .filter(({ id, version, needs }) => !there.has(`${id}.${version}`) && (needs.start ?? needs.read) !== undefined)
    .map(({ id, version, needs }) => {
      const [need, files] = needs.start === undefined ? ['read', needs.read?.files] : ['start', needs.start.files];
      return `key ${id} version ${version} is not stored, and ${files?.[0]} needs it to ${need}`;
    });
}

type StoredKeys = Part<StoredPart>;
type RunningServer = Part<ServerView>;

async function screen(
  keys: StoredKeys,
  running: RunningServer,
  disk: Part<DiskPart> | undefined,
  width: number | undefined,
): Promise<readonly string[]> {
  const versions = 'value' in keys ? keys.value.versions : [];
  const spaces = 'value' in running ? running.value.spaces : [];
  const needs = disk !== undefined && 'value' in disk ? disk.value.needs : [];
  const ids = [...new Set([...versions.map(({ name }) => name.id), ...spaces.map(({ keyId }) => keyId)])];
  const rows = ids.slice(0, MOST_IDS).map((id) => {
    const those = versions.filter(({ name }) => name.id === id);
    const latest = those.find(({ state }) => state === 'latest');
    const old = needs.filter((each) => each.id === id && each.version !== latest?.name.version);
    const oldNeeds = old.flatMap(({ version, needs: each }) =>
      NEED_CLASSES.filter((need) => each[need] !== undefined)
        .slice(0, 1)
        .map((need) => `${version} to ${need === 'logs' ? 'read logs' : need}`),
    );
    return [
      `${id}`,
      `${those.filter(({ state }) => state !== 'retired').length}`,
      latest === undefined ? '-' : `${latest.name.version}`,
      latest?.created?.slice(0, 'YYYY-MM-DD'.length) ?? '-',
      'value' in running
        ? leftOf(
            spaces.filter(({ keyId }) => keyId === id),
            latest?.name.version,
          )
        : '?',
      disk === undefined || 'problem' in disk ? '?' : oldNeeds.join(', ') || '-',
    ];
  });
  const head =
    'value' in keys
      ? [`${keys.value.directory}: ${counted(ids.length, 'key id')}, ${counted(versions.length, 'version')}`]
      : [];
  const table = await tableLines(COLUMNS, rows, { width, indent: 2 });
  const more = ids.length > MOST_IDS ? [`  and ${counted(ids.length - MOST_IDS, 'more key id')}: list, --json`] : [];
  const still =
    'value' in running && rows.some(([, , , , left]) => left?.includes(' of '))
      ? stillBecause(running.value.settings)
      : undefined;
  const server =
    'value' in running
      ? [`Server: ${running.value.version}, ${running.value.server}`, ...(still ? [`  ${still}`] : [])]
      : [];
  return [...head, ...table, ...more, ...server];
}

const COLUMNS = [
  { heading: 'KEY' },
  { heading: 'VERSIONS', isNumber: true },
  { heading: 'LATEST', isNumber: true },
  { heading: 'CREATED' },
  { heading: 'TO RE-ENCRYPT', shorten: 'end' as const },
  { heading: 'OLD VERSIONS ON DISK', shorten: 'end' as const },
];

/** Tablespaces with pages under older versions, as the server says. */
function leftOf(spaces: readonly SpacesOfVersion[], latest: number | undefined): string {
  const all = spaces.reduce((sum, { tablespaces }) => sum + tablespaces, 0);
  const left = spaces.filter(({ version }) => version < (latest ?? 0)).reduce((sum, each) => sum + each.tablespaces, 0);
  const busy = spaces.reduce((sum, { underWay }) => sum + underWay, 0);
  if (all === 0) return '-';
  return left === 0 ? `nothing, ${all} done` : `${left} of ${all}${busy > 0 ? `, ${busy} under way` : ''}`;
}
