import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { type DataFiles, nodeDataFiles } from '../../../src/data/data-files.ts';
import type { DataLocations } from '../../../src/data/locations.ts';
import { type DataLook, keyNeedOf, lookAtData } from '../../../src/data/look.ts';
import { dataLocations } from '../../../src/server/data-locations.ts';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const VECTORS = new Map(dataFileVectors().map((vector) => [vector.vector, vector]));

/** A server's directories with files from the vectors, each in its usual place or in a given one. */
class Directories {
  readonly root = scratchDirectory();
  readonly datadir = join(this.root, 'data');
  locations: DataLocations = {
    datadir: this.datadir,
    systemTablespace: [join(this.datadir, 'ibdata1')],
    redoLogs: this.datadir,
    undoLogs: this.datadir,
    logIndexes: [],
    temporaryTablespaces: [join(this.datadir, 'ibtmp1')],
    innodbBinaryLogs: this.datadir,
    temporaryTables: [],
  };

  constructor() {
    mkdirSync(this.datadir);
  }

  put(name: string, path = VECTORS.get(name)?.name ?? ''): this {
    const vector = VECTORS.get(name);
    if (vector === undefined) throw new Error(`no vector ${name}`);
    this.write(path, vector.bytes);
    if (vector.data !== undefined) this.write(path.replace(/\.MAI$/, '.MAD'), vector.data);
    return this;
  }

  write(path: string, content: Uint8Array | string): this {
    const full = join(this.datadir, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
    return this;
  }

  async look(files: DataFiles = nodeDataFiles, signal = new AbortController().signal): Promise<DataLook> {
    return await lookAtData(files, this.locations, signal);
  }
}

/** Lines of `id.version file`, without the version where the file names none. */
function usesOf({ uses }: DataLook): string[] {
  return uses.map(({ id, version, file }) => `${id}${version === undefined ? '' : `.${version}`} ${file}`);
}

it('a look at a data directory in the clear finds that no key is needed', async () => {
  const directories = new Directories();
  for (const name of ['redo-clear', 'system-clear', 'undo-clear', 'table-encrypted-no', 'aria-clear', 'binlog-clear'])
    directories.put(name);
  directories.write('binlog.index', './binlog.000001\n').write('d/db.opt', 'x').write('ib_buffer_pool', '0,1\n');
  const look = await directories.look();
  expect(look).toMatchObject({ uses: [], unseen: [], files: 6 });
  expect(keyNeedOf(look)).toBe('none');
});

it('an Aria table without its data, and a temporary one, need no key', async () => {
  const directories = new Directories();
  directories.put('aria-encrypted').put('aria-encrypted', 'd/#sql-temptable-1-2-3.MAI');
  rmSync(join(directories.datadir, 'd/a.MAD'));
  expect(await directories.look()).toMatchObject({ uses: [], unseen: [], files: 1 });
});

it('a look finds the key of every kind of file in the data directory', async () => {
  const directories = new Directories();
  for (const name of ['redo-encrypted', 'system-encrypted', 'undo-encrypted', 'table-key-5', 'aria-encrypted'])
    directories.put(name);
  directories.put('binlog-encrypted-version-2').write('binlog.index', './binlog.000001\n./binlog.000002\n');
  const look = await directories.look();
  expect(usesOf(look)).toEqual(['1 ib_logfile0', '1.1 ib_logfile0', '1.2 binlog.000002', '5 d/t.ibd']);
  expect(look.unseen).toEqual([]);
  expect(keyNeedOf(look)).toBe('needs');
});

it.each([
  ['the redo log', 'redo-encrypted', '1.1', (place: string) => ({ redoLogs: place }), 'ib_logfile0'],
  [
    'an archived redo log',
    'redo-encrypted',
    '1.1',
    (place: string) => ({ redoLogs: place }),
    'ib_0000000000003000.log',
  ],
  [
    'the system tablespace',
    'system-encrypted',
    '1',
    (place: string) => ({ systemTablespace: [join(place, 'system')] }),
    'system',
  ],
  ['an undo tablespace', 'undo-encrypted', '1', (place: string) => ({ undoLogs: place }), 'undo001'],
])('a look finds the key of %s in a directory of its own', async (_, vector, use, location, file) => {
  const directories = new Directories();
  directories.locations = { ...directories.locations, ...location(join(directories.root, 'elsewhere')) };
  directories.put(vector, `../elsewhere/${file}`);
  expect(usesOf(await directories.look()).at(-1)).toBe(`${use} ${join(directories.root, 'elsewhere', file)}`);
});

it('a look follows the link of a table with DATA DIRECTORY', async () => {
  const directories = new Directories().put('table-key-5', '../elsewhere/d/t.ibd');
  const outside = join(directories.root, 'elsewhere/d/t.ibd');
  directories.write('d/t.isl', `${outside}\n`);
  expect(usesOf(await directories.look())).toEqual([`5 ${outside}`]);
});

it('a table behind a link that cannot be reached may be encrypted with any key', async () => {
  const look = await new Directories().write('d/t.isl', '/nowhere/d/t.ibd').look();
  expect(look).toMatchObject({ uses: [], unseen: [{ path: 'd/t.isl', reason: 'the file that it names: ENOENT' }] });
  expect(keyNeedOf(look)).toBe('unsure');
});

it('a look follows a database that is a symbolic link', async () => {
  const directories = new Directories().put('table-key-5', '../elsewhere/t.ibd');
  symlinkSync(join(directories.root, 'elsewhere'), join(directories.datadir, 'd'));
  expect(usesOf(await directories.look())).toEqual(['5 d/t.ibd']);
});

it('a link whose target is gone is unseen, and lost+found is no database', async () => {
  const directories = new Directories().write('d/db.opt', '').put('table-key-5', 'lost+found/t.ibd');
  symlinkSync('/nowhere/t.ibd', join(directories.datadir, 'd/t.ibd'));
  expect(await directories.look()).toMatchObject({ uses: [], unseen: [{ path: 'd/t.ibd', reason: 'ENOENT' }] });
});

it('a look reads every index beside a configured one, for relay logs of several sources', async () => {
  const directories = new Directories().put('relay-encrypted', '../logs/relay-east.000003');
  const logs = join(directories.root, 'logs');
  directories.write('../logs/relay-east.index', `${logs}/relay-east.000003\n`);
  directories.locations = { ...directories.locations, logIndexes: [join(logs, 'relay.index')] };
  expect(usesOf(await directories.look())).toEqual([`1 ${logs}/relay-east.000003`, `1.1 ${logs}/relay-east.000003`]);
});

it('an index names a log by its place in the data directory, or beside the index', async () => {
  const directories = new Directories().put('binlog-encrypted', '../logs/b.000001');
  const logs = join(directories.root, 'logs');
  directories.write('../logs/b.index', 'b.000001\nb.000002\n');
  directories.locations = { ...directories.locations, logIndexes: [join(logs, 'b.index')] };
  expect(usesOf(await directories.look()).at(-1)).toBe(`1.1 ${logs}/b.000001`);
});

it('a file that cannot be read is unseen, and does not count as unencrypted', async () => {
  const directories = new Directories().put('table-encrypted-no');
  const broken: DataFiles = {
    ...nodeDataFiles,
    open: (path, link) => {
      if (path.endsWith('.ibd')) throw Object.assign(new Error('EIO: i/o error, open'), { code: 'EIO' });
      return nodeDataFiles.open(path, link);
    },
  };
  const look = await directories.look(broken);
  expect(look.unseen).toEqual([{ path: 'd/off.ibd', reason: 'EIO' }]);
  expect(keyNeedOf(look)).toBe('unsure');
});

it('a data directory that is not there is unseen', async () => {
  const directories = new Directories();
  directories.locations = { ...directories.locations, datadir: '/nowhere' };
  expect(keyNeedOf(await directories.look())).toBe('unsure');
});

it('a look that ends early says so', async () => {
  const look = await new Directories().put('redo-clear').look(nodeDataFiles, AbortSignal.abort());
  expect(look.unseen[0]?.reason).toBe('there was no time to look at everything');
  expect(keyNeedOf(look)).toBe('unsure');
});

it('a look keeps whole pages to try a key on, and passes damaged ones over', async () => {
  const directories = new Directories().put('pages-version-2', 'd/a.ibd').put('pages-version-2', 'd/b.ibd');
  const damaged = Buffer.from(VECTORS.get('pages-version-2')?.bytes ?? []);
  damaged.writeUInt8(damaged.readUInt8(3000) ^ 1, 3000);
  directories.write('d/damaged.ibd', damaged);
  const use = (await directories.look()).uses.find(({ version }) => version === 2);
  expect(use).toMatchObject({ id: 9, files: 2 });
  expect(use?.pages.map(({ file }) => file)).not.toContain('d/damaged.ibd');
});

it('a FIFO with the name of a table does not block a look', async () => {
  const directories = new Directories().put('table-key-5');
  execFileSync('mkfifo', [join(directories.datadir, 'd/fifo.ibd')]);
  expect(usesOf(await directories.look())).toEqual(['5 d/t.ibd']);
});

/**
 * Layouts that the plugin's walk is tested with, too (plugin/test/data/datadir_test.c); the README.md there explains
 * the lines.
 */
const LAYOUTS = readFileSync(join(import.meta.dirname, '../../vectors/data-files/layouts.txt'), 'utf8')
  .split(/\n\n+/)
  .filter((block) => /^layout /m.test(block))
  .map((block) => block.trim().split('\n'));
const LAYOUT_FILES: Readonly<Record<string, string>> = {
  table: 'table-key-5',
  redo: 'redo-encrypted',
  log: 'binlog-encrypted',
};

it.each(LAYOUTS.map((lines) => [lines[0]?.replace(/^layout /, ''), lines] as const))('a look: %s', async (_, lines) => {
  const directories = new Directories();
  const options = new Map<string, string>();
  let expected = '';
  for (const line of lines.slice(1).map((text) => text.replaceAll('ROOT', directories.root))) {
    const [, word = '', first = '', second = ''] = /^(\S+) (\S+) ?(.*)$/.exec(line) ?? [];
    const path = join(directories.datadir, first);
    const vector = LAYOUT_FILES[word];
    if (word === 'option') options.set(first.replace(/=.*$/, ''), first.replace(/^[^=]*=/, ''));
    else if (word === 'expect') expected = `${first} ${second}`.trimEnd();
    else if (vector !== undefined) directories.put(vector, first);
    else {
      mkdirSync(dirname(path), { recursive: true });
      if (word === 'link') symlinkSync(second, path);
      else if (word === 'text') appendFileSync(path, `${second}\n`);
      else throw new Error(`no line begins with ${word}`);
    }
  }
  directories.locations = dataLocations(directories.datadir, (name) => options.get(name));
  const look = await directories.look();
  const file = look.uses[0]?.file ?? look.unseen[0]?.path ?? '';
  const found = `${keyNeedOf(look)} ${file}`.trimEnd();
  expect(expected === 'unsure' ? found.replace(/ .*$/, '') : found).toBe(expected);
});

it('a look repeats no content of the file that a link in place of a .isl file leads to', async () => {
  const directories = new Directories().write('../secret', '/secret.ibd\n').write('d/db.opt', '');
  symlinkSync(join(directories.root, 'secret'), join(directories.datadir, 'd/t.isl'));
  directories.write('d/u.isl', 'aws_secret_access_key = x').write('d/v.isl', '/nowhere/\u001b[2J.ibd');
  symlinkSync(join(directories.root, 'secret'), join(directories.datadir, 'a.index'));
  directories.write('../secret', `/${'s'.repeat(300)}\n`);
  const { unseen } = await directories.look();
  expect(unseen.map(({ path, reason }) => `${path}: ${reason}`).sort()).toEqual([
    'a.index: the file that it names: ENAMETOOLONG',
    'd/t.isl: it is a symbolic link',
    'd/u.isl: it names no tablespace',
    'd/v.isl: it names no tablespace',
  ]);
});

it('an index that is too long, or has a line that is, is not read in part', async () => {
  const directories = new Directories()
    .write('a.index', './a.000001\n'.repeat(100_000))
    .write('b.index', `./${'b'.repeat(5000)}\n`);
  expect((await directories.look()).unseen).toEqual([
    { path: 'a.index', reason: 'it is too long' },
    { path: 'b.index', reason: 'a line of it is too long' },
  ]);
});
