import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { checkReports, type ReportOptions, writeReports } from '../../../src/cli/audit-reports.ts';
import { systemClock, systemRandom } from '../../../src/cli/system.ts';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { reportOf, tablespace } from '../../support/audits.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { systemError } from '../../support/memory-fs.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const DISK = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom };
const REPORT = reportOf([tablespace('d/t.ibd', { used: 1 })]);
const OTHERS_FILE = 0o644;

let directory: string;
beforeEach(() => {
  directory = scratchDirectory();
});

/** Returns the messages and hints of the reports that were not written. */
async function write(
  options: ReportOptions,
  during: () => void = () => undefined,
  disk = DISK,
): Promise<readonly string[]> {
  await checkReports(options, DISK);
  during();
  return (await writeReports(options, REPORT, disk)).map(({ code, message, hint }) => `${code} ${message}; ${hint}`);
}

it('the report goes into a new file for its owner alone', async () => {
  const html = join(directory, 'audit.html');
  expect(await write({ html })).toEqual([]);
  expect(readFileSync(html, 'utf8')).toMatch(/^<!DOCTYPE html>[\s\S]*<\/html>\n$/);
  expect(statSync(html).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(['audit.html']);
});

it('the report never replaces a file, and says so before the audit', async () => {
  const html = join(directory, 'ibdata1');
  writeFileSync(html, 'data');
  const refused = expectKeyError(checkReports({ html }, DISK), 'BAD_OPTION', `--html: ${html} exists`);
  expect((await refused).hint).toBe('name a new file: none is replaced');
  expect(readFileSync(html, 'utf8')).toBe('data');
});

it('the report replaces no file that came during the audit, and no link', async () => {
  for (const [name, make] of [
    ['file', (path: string) => writeFileSync(path, 'data')],
    ['link', (path: string) => symlinkSync('/nowhere', path)],
  ] as const) {
    const html = join(directory, name);
    expect(await write({ html }, () => make(html))).toEqual([
      `BAD_OPTION --html: ${html} exists; name a new file: none is replaced`,
    ]);
  }
  expect(readdirSync(directory).sort()).toEqual(['file', 'link']);
  expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('data');
});

it('a report whose disk is full leaves no part of it', async () => {
  const html = join(directory, 'audit.html');
  const full = {
    ...nodeFileSystem,
    open: async (...[path, flags, mode]: Parameters<typeof nodeFileSystem.open>) => ({
      ...(await nodeFileSystem.open(path, flags, mode)),
      writeFile: async () => {
        throw systemError('ENOSPC');
      },
    }),
  };
  const written = await write({ html }, undefined, { ...DISK, fileSystem: full });
  expect(written).toEqual([`STORE_UNAVAILABLE ${html} was not written: ENOSPC; `]);
  expect(readdirSync(directory)).toEqual([]);
});

it('a place where no report can be written is refused before the audit', async () => {
  const path = join(directory, 'absent/audit');
  for (const [option, options] of [
    ['--html', { html: path }],
    ['--prometheus', { prometheus: `${path}.prom` }],
  ] as const) {
    const refused = expectKeyError(checkReports(options, DISK), 'BAD_OPTION', /: \S+ cannot be written: ENOENT$/);
    expect(await refused).toMatchObject({ hint: `create the directory ${join(directory, 'absent')} first` });
    await expectKeyError(checkReports(options, DISK), 'BAD_OPTION', new RegExp(`^${option}: `));
  }
  const denied = { ...nodeFileSystem, open: () => Promise.reject(systemError('EACCES')) };
  const { hint } = await expectKeyError(
    checkReports({ html: join(directory, 'a.html') }, { ...DISK, fileSystem: denied }),
    'BAD_OPTION',
    /: EACCES$/,
  );
  expect(hint).toBe(`root writes with the rights of whoever owns a directory on the way: namei -l ${directory}`);
  expect(readdirSync(directory)).toEqual([]);
});

it('metrics replace those of the run before at once, readable for everybody', async () => {
  const prometheus = join(directory, 'audit.prom');
  writeFileSync(prometheus, 'old', { mode: 0o600 });
  const before = statSync(prometheus).ino;
  expect(await write({ prometheus })).toEqual([]);
  expect(readFileSync(prometheus, 'utf8')).toMatch(/^# HELP [\s\S]* \d+\n$/);
  expect(statSync(prometheus).ino).not.toBe(before);
  expect(statSync(prometheus).mode & 0o777).toBe(OTHERS_FILE);
  expect(readdirSync(directory)).toEqual(['audit.prom']);
});

it('metrics that cannot be written leave those of the run before', async () => {
  const prometheus = join(directory, 'audit.prom');
  writeFileSync(prometheus, 'old');
  const stuck = {
    ...nodeFileSystem,
    rename: async () => {
      throw systemError('EIO');
    },
  };
  const html = join(directory, 'audit.html');
  expect(await write({ html, prometheus }, undefined, { ...DISK, fileSystem: stuck })).toEqual([
    `STORE_UNAVAILABLE ${prometheus} was not written: EIO; `,
  ]);
  expect(readFileSync(prometheus, 'utf8')).toBe('old');
  expect(readdirSync(directory)).toEqual(['audit.html', 'audit.prom']);
});

it('metrics go into no file that the collector would not read', async () => {
  const prometheus = join(directory, 'd/t.ibd');
  mkdirSync(join(directory, 'd'));
  const { hint } = await expectKeyError(
    checkReports({ prometheus }, DISK),
    'BAD_OPTION',
    `--prometheus: ${prometheus} does not end in .prom`,
  );
  expect(hint).toBe('the textfile collector reads no other file; to print the metrics, put --prometheus last');
  expect(existsSync(prometheus)).toBe(false);
});

it('JSON and metrics do not go to standard output together', async () => {
  const both = checkReports({ prometheus: true, json: true }, DISK);
  await expectKeyError(both, 'BAD_OPTION', '--json and --prometheus both print to standard output');
  expect(await write({ prometheus: join(directory, 'a.prom'), json: true })).toEqual([]);
});
