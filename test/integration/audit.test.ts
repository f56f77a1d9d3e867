/**
 * The audit's answer about the files of real servers, compared with the server's own view and with the truth: a server
 * from whose key directory versions were taken away does what the audit predicted.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { AuditTable, formatsForStart } from '../../harness/audit-table/audit-table.ts';
import { ClearServer, compareCopies } from '../../harness/audit-table/copies.ts';
import type { Build } from '../../harness/audit-table/formats.ts';
import { predict } from '../../harness/audit-table/predict.ts';
import { Site } from '../../harness/audit-table/site.ts';
import { auditWhileWriting, type Captured, reach, STATES, type State } from '../../harness/audit-table/states.ts';
import { auditTemporary } from '../../harness/audit-table/temporary.ts';
import { type Check, controlOf, tryWithout } from '../../harness/audit-table/truth.ts';
import { compareVerified } from '../../harness/audit-table/verified.ts';
import { compareWithView } from '../../harness/audit-table/view.ts';
import type { Row } from '../../harness/scratch-server.ts';
import { backUpAndRestore, PREPARED } from '../support/audited-backup.ts';
import { freePort } from '../support/free-port.ts';
import { startKms } from '../support/lab.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

/** `npm run test:audit` sets it: every build and state, and each key version taken away. */
const all = process.env['MAK_AUDIT'] === 'all';
const MOST_MS = all ? 3_600_000 : 240_000;

/** Builds of `npm test`, with the names of their states. */
const SHORT = new Map<Build, readonly string[]>([
  [{ pageKiB: 16, checksum: 'full_crc32', cipher: 'AES_CBC' }, ['rotated often, free pages']],
  [{ pageKiB: 4, checksum: 'crc32', cipher: 'AES_CTR' }, ['killed']],
]);
const LONG: readonly Build[] = [
  ...([4, 8, 16, 32, 64] as const).flatMap((pageKiB): readonly Build[] => [
    { pageKiB, checksum: 'full_crc32', cipher: 'AES_CBC' },
    { pageKiB, checksum: 'crc32', cipher: 'AES_CTR' },
  ]),
  { pageKiB: 16, checksum: 'full_crc32', cipher: 'AES_CTR' },
  { pageKiB: 16, checksum: 'crc32', cipher: 'AES_CBC' },
];

const table = new AuditTable();
afterAll(() => {
  if (all) console.log([...table.problems, table.markdown()].join('\n'));
});

it.each(all ? LONG : [...SHORT.keys()])(
  'servers of $pageKiB KiB pages, $checksum and $cipher do without a key version what the audit predicted',
  async (build) => {
    const kms = await startKms();
    const directory = scratchDirectory();
    const site = await Site.make(directory, build, { kms, port: await freePort() });
    cleanUp(() => site.kill());
    const captured: Captured[] = [];
    for (const state of all ? STATES : STATES.filter(({ name }) => SHORT.get(build)?.includes(name)))
      captured.push(await reach(site, state));
    await site.endPrimary();
    const clear = await ClearServer.start(join(directory, 'clear'), build, site.template);
    cleanUp(() => clear.server.kill());
    for (const { state, view, options } of captured) {
      site.server.options = options;
      await tryState(site, clear, state, view);
    }
    if (all) {
      const running = captured.findLast(({ options }) => options['innodb_encrypt_tables'] === 'ON');
      if (running === undefined) throw new Error('no state is encrypted');
      site.server.options = running.options;
      note(site, 'running', await auditTemporary(site, running.state.name));
      site.server.options = running.options;
      site.restore(running.state.name);
      await site.server.start();
      note(site, 'running', await auditWhileWriting(site));
      note(site, 'unprepared backup', await backUpAndRestore(site, directory));
      await tryState(site, clear, PREPARED, []);
    }
    expect(table.problems).toEqual([]);
  },
  MOST_MS,
);

/**
 * Takes key versions away from the captured state: all that nothing needs; those of tables with keys of their own, each
 * number at once; and each of key 1.
 */
async function tryState(site: Site, clear: ClearServer, state: State, view: readonly Row[]): Promise<void> {
  site.restore(state.name);
  const audit = await site.audit();
  expect(audit.complete).toBe(true);
  expect(predict(audit, []).isRecovered).toBe(state.end === 'killed');
  // Tables of mysql that Aria made before it encrypted are in clear indeed.
  if (state.isAtRest) expect(audit.conflicts.filter(({ file }) => !/^(?:mysql|sys)\//.test(file))).toEqual([]);
  note(site, state.name, compareWithView(site.build, audit, view, state.isAtRest));
  const versions = site.versions();
  const control = await controlOf(site, state);
  site.restore(state.name);
  const copies = join(site.scratch, 'copies');
  note(site, state.name, await compareCopies(site, state.name, audit, copies));
  note(site, state.name, await clear.import(site, copies, control));
  rmSync(copies, { recursive: true });
  const named = new Set(
    audit.keyVersions.filter(({ isNeededHere }) => isNeededHere).map(({ keyId, version }) => `${keyId}.${version}`),
  );
  const needed = versions.filter((name) => named.has(name));
  const unneeded = versions.filter((name) => !named.has(name));
  const ofTables = [...new Set(needed.filter(isOfTable).map(numberOf))].map((number) =>
    needed.filter((name) => isOfTable(name) && numberOf(name) === number),
  );
  const ofServer = needed.filter((name) => !isOfTable(name)).map((name) => [name]);
  for (const taken of [unneeded, [...unneeded, ...(ofTables[0] ?? []), ...(ofServer[0] ?? [])]]) {
    site.restore(state.name);
    site.takeAway(taken);
    note(site, state.name, await compareVerified(site, audit, taken));
  }
  for (const taken of [unneeded, ...ofTables, ...ofServer]) {
    const checks = await tryWithout(site, state, {
      versions: taken,
      prediction: predict(audit, taken),
      control,
      isThorough: all && taken === ofTables[0],
    });
    note(site, state.name, checks, formatsForStart(audit, taken));
    if (all) console.log(`${nameOf(site.build)}, ${state.name}, without ${taken.join(' ')}: ${checks.length} checks`);
  }
}

function note(site: Site, state: string, checks: readonly Check[], forStart?: readonly string[]): void {
  table.note(nameOf(site.build), state, checks, forStart);
}

function nameOf({ pageKiB, checksum, cipher }: Build): string {
  return `${pageKiB} KiB ${checksum} ${cipher}`;
}

/** Key 1 is that of everything that has no key of its own. */
function isOfTable(version: string): boolean {
  return !version.startsWith('1.');
}

function numberOf(version: string): string {
  return version.replace(/^.*\./, '');
}
