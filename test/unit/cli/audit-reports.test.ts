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
let printed: string[];
beforeEach(() => {
  directory = scratchDirectory();
  printed = [];
});

async function write(options: ReportOptions, disk = DISK): Promise<boolean> {
  await checkReports(options, disk);
  const print = (line: string): void => void printed.push(line);
  return await writeReports(options, REPORT, disk, { stdout: print });
}

it('the report goes into a new file for its owner alone', async () => {
  const html = join(directory, 'audit.html');
  expect(await write({ html })).toBe(false);
  expect(readFileSync(html, 'utf8')).toMatch(/^<!DOCTYPE html>[\s\S]*<\/html>\n$/);
  expect(statSync(html).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(['audit.html']);
  expect(printed).toEqual([]);
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
    await checkReports({ html }, DISK);
    make(html);
    const written = writeReports({ html }, REPORT, DISK, { stdout: () => undefined });
    await expectKeyError(written, 'BAD_OPTION', `--html: ${html} exists`);
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
  const { hint } = await expectKeyError(
    write({ html }, { ...DISK, fileSystem: full }),
    'STORE_UNAVAILABLE',
    `${html} was not written: ENOSPC`,
  );
  expect(hint).toBe(`root writes with the rights of whoever owns a directory on the way: namei -l ${directory}`);
  expect(readdirSync(directory)).toEqual([]);
});

it('metrics go to standard output, and nothing else does', async () => {
  expect(await write({ prometheus: true })).toBe(true);
  expect(printed).toHaveLength(1);
  expect(printed[0]).toMatch(/^# HELP mariadb_aws_kms_audit_info .*[^\n]$/s);
});

it('metrics replace those of the run before at once, readable for everybody', async () => {
  const prometheus = join(directory, 'audit.prom');
  writeFileSync(prometheus, 'old', { mode: 0o600 });
  const before = statSync(prometheus).ino;
  expect(await write({ prometheus })).toBe(false);
  expect(readFileSync(prometheus, 'utf8')).toMatch(/^# HELP [\s\S]* \d+\n$/);
  expect(statSync(prometheus).ino).not.toBe(before);
  expect(statSync(prometheus).mode & 0o777).toBe(OTHERS_FILE);
  expect(readdirSync(directory)).toEqual(['audit.prom']);
  expect(printed).toEqual([]);
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
  await expectKeyError(
    write({ prometheus }, { ...DISK, fileSystem: stuck }),
    'STORE_UNAVAILABLE',
    `${prometheus} was not written: EIO`,
  );
  expect(readFileSync(prometheus, 'utf8')).toBe('old');
  expect(readdirSync(directory)).toEqual(['audit.prom']);
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
  expect(await write({ prometheus: join(directory, 'a.prom'), json: true })).toBe(false);
});
