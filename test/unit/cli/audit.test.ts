import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { auditCommand } from '../../../src/cli/audit.ts';
import type { CliIo } from '../../../src/cli/process-io.ts';
import { systemSurroundings } from '../../../src/cli/system-surroundings.ts';
import { ariaLengths } from '../../../src/format/aria-table.ts';
import type { Surroundings } from '../../../src/server/surroundings.ts';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { madeTablespace, PAGE } from '../../support/made-tablespaces.ts';
import { recordedIo } from '../../support/recorded-io.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const VECTORS = new Map(dataFileVectors().map((vector) => [vector.vector, vector]));

let root: string;
beforeEach(() => {
  root = scratchDirectory();
});

function put(path: string, content: string | Uint8Array): string {
  const full = join(root, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, content);
  return full;
}

function putVector(name: string, path: string): string {
  const vector = VECTORS.get(name);
  if (vector === undefined) throw new Error(`no vector ${name}`);
  if (vector.data === undefined) return put(path, vector.bytes);
  const lengths = ariaLengths(vector.bytes);
  put(path.replace(/\.MAI$/, '.MAD'), filled(vector.data, lengths?.data));
  return put(path, filled(vector.bytes, lengths?.index));
}

/** The vectors are the beginnings of files. */
function filled(bytes: Uint8Array, length = 0): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, length - bytes.length))]);
}

/** A data directory: a redo log of key 1 version 1, and tables of key 7 versions 2 and 3. */
function dataDirectory(at = 'data'): string {
  putVector('redo-encrypted', `${at}/ib_logfile0`);
  put(`${at}/ibdata1`, madeTablespace({ id: 0, scheme: undefined }, ['empty']));
  put(`${at}/d/t.ibd`, madeTablespace({}, [{ version: 2 }]));
  put(`${at}/d/u.ibd`, madeTablespace({}, [{ version: 3 }]));
  return join(root, at);
}

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function audit(args: readonly string[], more: Partial<CliIo> = {}, options?: string): Promise<Outcome> {
  const { io, printed } = recordedIo(more);
  await auditCommand(io, () => outside(options))
    .exitOverride()
    .parseAsync(args, { from: 'user' });
  return printed;
}

/** @param options lines of my_print_defaults; undefined: the program is not there */
function outside(options: string | undefined): Surroundings {
  const run: Surroundings['run'] = (program) =>
    Promise.resolve(
      program === 'my_print_defaults' && options !== undefined ? { code: 0, stdout: options, stderr: '' } : undefined,
    );
  return { ...systemSurroundings(), run };
}

interface Printed {
  readonly ok: boolean;
  readonly complete: boolean;
  readonly keyDirectory?: string;
  readonly files: readonly { readonly file: string; readonly kind: string; readonly state: string }[];
  readonly keyVersions: readonly { readonly keyId: number; readonly version: number; readonly needs: object }[];
  readonly requirements: readonly { readonly requirement: string; readonly met: boolean }[];
  readonly conflicts: readonly { readonly file: string; readonly asked: string }[];
  readonly unseen: readonly { readonly path: string; readonly reason: string }[];
}

async function auditJson(args: readonly string[], options?: string): Promise<Printed & Outcome> {
  const outcome = await audit(['--json', ...args], {}, options);
  const printed: Printed = JSON.parse(outcome.stdout);
  return { ...printed, ...outcome };
}

function needsOf({ keyVersions }: Printed): readonly string[] {
  return keyVersions.map(({ keyId, version, needs }) => `${keyId}.${version} ${Object.keys(needs)}`);
}

describe('a copy of a data directory', () => {
  it('is read without option files, and its settings are not known', async () => {
    const found = await auditJson([dataDirectory()]);
    expect(found).toMatchObject({ status: 0, ok: true, complete: true, conflicts: [], stderr: '' });
    expect(found.files.map(({ file }) => file)).toEqual(['ib_logfile0', 'ibdata1', 'd/t.ibd', 'd/u.ibd']);
    expect(needsOf(found)).toEqual(['1.1 start', '7.1 ', '7.2 read', '7.3 read']);
    expect(await auditJson(['--no-defaults', '--datadir', join(root, 'data')])).toMatchObject({ status: 0 });
  });

  it('takes nothing from the option files of this machine with --datadir', async () => {
    dataDirectory();
    const options = `--datadir=${dataDirectory('server')}\n--innodb_undo_directory=/nowhere\n`;
    const found = await auditJson(['--datadir', join(root, 'data')], options);
    expect(found).toMatchObject({ status: 0, unseen: [], conflicts: [] });
    expect((await auditJson(['--datadir', join(root, 'server')], options)).unseen).toEqual([
      { path: '/nowhere', reason: 'ENOENT' },
    ]);
  });

  it('has the system tablespace of several files, in the order of their numbers', async () => {
    const datadir = dataDirectory();
    const whole = madeTablespace(
      { id: 0 },
      Array.from({ length: 11 }, () => ({ version: 1 })),
    );
    for (let at = 1; at <= 12; at += 1) put(`data/ibdata${at}`, whole.subarray((at - 1) * PAGE, at * PAGE));
    const found = await auditJson([datadir]);
    expect(found).toMatchObject({ status: 0, unseen: [] });
    const system = found.files.filter(({ kind }) => kind === 'system tablespace');
    expect(system.map(({ state }) => state)).toEqual(['empty', ...Array.from({ length: 11 }, () => 'encrypted')]);
  });

  it('names tables and files of the system tablespace that are cut off', async () => {
    const datadir = dataDirectory();
    const pages = [{ version: 1 }, { version: 1 }, { version: 1 }];
    put('data/ibdata1', madeTablespace({ id: 0 }, pages).subarray(0, PAGE));
    put('data/ibdata2', madeTablespace({ id: 0 }, pages).subarray(PAGE, 2 * PAGE));
    put('data/d/t.ibd', madeTablespace({}, pages).subarray(0, 2 * PAGE));
    const index = putVector('aria-encrypted', 'data/d/a.MAI');
    writeFileSync(index.replace(/MAI$/, 'MAD'), VECTORS.get('aria-encrypted')?.data?.subarray(0, 100) ?? '');
    const found = await auditJson([datadir]);
    expect(found).toMatchObject({ status: 3, complete: false });
    expect([...found.unseen].sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { path: 'd/a.MAI', reason: expect.stringMatching(/^its data file ends at byte 100 of \d+$/) },
      { path: 'd/t.ibd', reason: 'it ends before its page 2 of 4' },
      { path: 'ibdata2', reason: 'it ends before its page 2 of 4' },
    ]);
    expect((await auditJson([join(datadir, 'ibdata1')])).unseen).toEqual([]);
  });

  it('with a table of zeros is not complete; beside a server such a table is a new one', async () => {
    const datadir = dataDirectory();
    put('data/d/t.ibd', Buffer.alloc(9 * PAGE));
    const table = { path: 'd/t.ibd', reason: expect.stringContaining('its first page is empty') };
    expect(await auditJson([datadir])).toMatchObject({ status: 3, unseen: [table] });
    expect(await auditJson([join(datadir, 'd/t.ibd')])).toMatchObject({ status: 3 });
    expect(await auditJson([], `--datadir=${datadir}\n`)).toMatchObject({ status: 0, unseen: [] });
    put('data/d/t.ibd', Buffer.concat([Buffer.alloc(PAGE), madeTablespace({}, [{ version: 1 }])]));
    expect((await auditJson([], `--datadir=${datadir}\n`)).unseen).toContainEqual(table);
  });

  it('names a file once that cannot be opened, also where an index names it as well', async () => {
    const datadir = dataDirectory();
    rmSync(join(datadir, 'ib_logfile0'));
    symlinkSync('/nowhere', join(datadir, 'ib_0000000000003000.log'));
    put('data/binlog.index', './binlog.000001\n');
    symlinkSync('binlog.000001', join(datadir, 'binlog.000001'));
    expect((await auditJson([datadir])).unseen).toEqual([
      { path: 'ib_0000000000003000.log', reason: 'ENOENT' },
      { path: 'binlog.index', reason: 'the file that it names: ELOOP' },
      { path: datadir, reason: expect.stringContaining('no redo log') },
    ]);
  });

  it('without a redo log is not complete: nothing says what a start needs', async () => {
    put('data/ibdata1', madeTablespace({ id: 0 }, [{ version: 1 }]));
    const found = await auditJson([join(root, 'data')]);
    expect(found).toMatchObject({ status: 3, ok: false, complete: false });
    expect(found.unseen).toEqual([{ path: join(root, 'data'), reason: expect.stringContaining('no redo log') }]);
  });

  it('has logs that no index names', async () => {
    const datadir = dataDirectory();
    putVector('binlog-encrypted-version-2', 'data/archived.000002');
    expect((await auditJson([datadir])).files.map(({ kind }) => kind)).toContain('binary log');
  });

  it.each([
    ['full-backuped', 'redo log of a backup', '1.1 logs'],
    ['full-prepared', 'redo log', '1.1 start'],
  ])('that mariadb-backup marked as %s has a %s', async (type, kind, need) => {
    const datadir = dataDirectory();
    put('data/xtrabackup_checkpoints', `backup_type = ${type}\nfrom_lsn = 0\n`);
    put('data/backup-my.cnf', '[mysqld]\ninnodb_data_file_path=/volume/ibdata1:12M:autoextend\n');
    const found = await auditJson([datadir]);
    expect(found.files[0]).toMatchObject({ file: 'ib_logfile0', kind });
    expect(needsOf(found)[0]).toBe(need);
    expect(found.files.map(({ file }) => file)).toContain('ibdata1');
  });

  it('of an incremental backup has files that are not read, and says so', async () => {
    const datadir = dataDirectory();
    put('data/xtrabackup_checkpoints', 'backup_type = incremental\n');
    put('data/d/t.ibd.delta', 'xtra');
    expect(await auditJson([datadir])).toMatchObject({
      status: 3,
      unseen: [{ path: 'd/t.ibd.delta', reason: expect.stringContaining('incremental') }],
    });
  });

  it('of a prepared backup has a redo log of 12,304 bytes without data', async () => {
    const datadir = dataDirectory();
    const clear = VECTORS.get('redo-clear')?.bytes.subarray(0, 512) ?? Buffer.alloc(0);
    put('data/ib_logfile0', Buffer.concat([clear, Buffer.alloc(12_304 - clear.length)]));
    expect((await auditJson([datadir])).files[0]).toMatchObject({ kind: 'redo log', state: 'empty' });
    put('data/ib_logfile0', Buffer.concat([clear, Buffer.alloc(99_999)]));
    expect((await auditJson([datadir])).files[0]).toMatchObject({ kind: 'redo log', state: 'clear' });
  });
});

describe('files', () => {
  it('have the kinds of their contents and names', async () => {
    const paths = [
      put('x/ibdata1.copy', madeTablespace({ id: 0 }, [{ version: 1 }])),
      put('x/table', madeTablespace({}, [{ version: 1 }])),
      put('x/temporary', madeTablespace({ id: 0xfffffffe, scheme: undefined }, [])),
      put('x/undo001', madeTablespace({ id: 1 }, [{ version: 1 }])),
      putVector('binlog-encrypted', 'x/log'),
      putVector('relay-encrypted', 'x/relay'),
      putVector('redo-encrypted', 'x/redo'),
      putVector('aria-encrypted', 'x/a.MAI').replace(/MAI$/, 'MAD'),
      put('x/binlog.index', './binlog.000001\n'),
    ];
    const found = await auditJson(paths);
    expect(found).toMatchObject({ status: 0, unseen: [] });
    expect(found.files.map(({ kind }) => kind)).toEqual([
      'system tablespace',
      'tablespace',
      'temporary tablespace',
      'undo tablespace',
      'binary log',
      'relay log',
      'redo log',
      'Aria table',
    ]);
  });

  it('that are not there, of no known kind, or damaged at their beginning are named', async () => {
    const other = put('x/notes.txt', 'nothing');
    const damaged = put('x/t.ibd', Buffer.alloc(PAGE, 0xff));
    symlinkSync('/nowhere', join(root, 'x/link.ibd'));
    const found = await auditJson([other, damaged, join(root, 'x/link.ibd'), join(root, 'x/absent')]);
    expect(found).toMatchObject({ status: 3, files: [] });
    expect(found.unseen.map(({ path, reason }) => `${path}: ${reason}`)).toEqual([
      `${join(root, 'x/link.ibd')}: ENOENT`,
      `${join(root, 'x/absent')}: ENOENT`,
      `${other}: it is no file that a server encrypts, or it is damaged at its beginning`,
      `${damaged}: its format is not known, or it is damaged at its beginning`,
    ]);
  });

  it('that are named twice count once, and directories may be among them', async () => {
    const datadir = dataDirectory();
    const table = join(datadir, 'd/t.ibd');
    const found = await auditJson([datadir, table, table]);
    expect(found.files).toHaveLength(4);
    expect(found.files.map(({ file }) => file)).toContain(table);
  });
});

it('the data of a server is compared with its settings, and with its key directory', async () => {
  const datadir = dataDirectory();
  put('data/d/clear.ibd', madeTablespace({ scheme: undefined }, [{}]));
  put('keys/aws-kms-key.7.2', 'wrapped');
  put('keys/aws-kms-key.7.1', 'wrapped');
  const options = `--datadir=${datadir}\n--innodb_encrypt_tables=ON\n--innodb_encrypt_log=OFF\n--aws_key_management_keyfile_dir=${join(root, 'keys')}\n`;
  const found = await auditJson([], options);
  expect(found.conflicts.map(({ file, asked }) => `${file} ${asked}`)).toEqual([
    'ib_logfile0 innodb_encrypt_log=OFF',
    'd/clear.ibd innodb_encrypt_tables=ON',
  ]);
  expect(found.keyDirectory).toBe(join(root, 'keys'));
  const { stdout, status } = await audit([], {}, options);
  expect(status).toBe(0);
  expect(stdout).toContain(`no key file in ${join(root, 'keys')}: 1.1, 7.3`);
  expect(stdout).toMatch(/^ {2}7\.1 +nothing found here$/m);
});

it('a setting whose value is none is named', async () => {
  const options = `--datadir=${dataDirectory()}\n--innodb_encrypt_tables=maybe\n`;
  const { stdout } = await audit([], {}, options);
  expect(stdout).toContain('innodb_encrypt_tables=maybe: that setting has no such value');
  expect(stdout.match(/no such value/g)).toHaveLength(1);
});

it('a file of an incremental backup is no table', async () => {
  const path = put('x/t.ibd.delta', madeTablespace({}, [{ version: 1 }]));
  expect(await auditJson([path])).toMatchObject({
    status: 3,
    files: [],
    unseen: [{ path, reason: expect.stringContaining('incremental') }],
  });
});

describe('requirements', () => {
  it.each([
    [['--require-version', '7.2'], 0],
    [['--require-version', '7.3'], 1],
    [['--require-version', '2'], 1],
    [['--require-version', '1', '--require-version', '7.3'], 1],
    [['--require-encrypted'], 0],
    [['--checksums'], 0],
  ])('%o end with status %i', async (options, status) => {
    expect(await auditJson([dataDirectory(), ...options])).toMatchObject({ status, complete: true, ok: status === 0 });
  });

  it('that are not met come before what was not read; --quiet prints nothing else', async () => {
    const datadir = dataDirectory();
    put('data/d/clear.ibd', madeTablespace({ scheme: undefined }, [{}]));
    put('data/d/bad.ibd', 'x');
    const { status, stdout, stderr } = await audit([datadir, '--require-encrypted', '--quiet']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('mariadb-aws-kms: --require-encrypted: not met by d/clear.ibd\n');
    expect(stderr).toContain('mariadb-aws-kms: not read: d/bad.ibd: its format is not known');
    expect(await audit([datadir, '--quiet'])).toMatchObject({ status: 3 });
  });

  it('of checksums name the damaged page', async () => {
    const datadir = dataDirectory();
    put('data/d/bad.ibd', madeTablespace({}, [{ version: 1 }, { version: 1, isDamaged: true }]));
    expect(await auditJson([datadir])).toMatchObject({ status: 0 });
    const found = await auditJson([datadir, '--checksums']);
    expect(found.status).toBe(1);
    expect(found.unseen).toEqual([{ path: 'd/bad.ibd', reason: expect.stringContaining('page 2: damaged') }]);
  });
});

it('with --quiet a few of many files are named, and the others counted', async () => {
  const datadir = dataDirectory();
  for (let at = 1; at <= 12; at += 1) {
    put(`data/d/c${at}.ibd`, madeTablespace({ scheme: undefined }, [{}]));
    put(`data/d/bad${at}.ibd`, 'x');
  }
  const { stderr } = await audit([datadir, '--require-encrypted', '--quiet']);
  expect(stderr).toMatch(/ not met by (?:d\/c\d+\.ibd,? ){10}and 2 more files: --json has all$/m);
  expect(stderr.match(/: not read: d\//g)).toHaveLength(10);
  expect(stderr).toMatch(/: not read: 2 more: --json has all$/m);
});

it('metrics are printed alone; of files or of several directories there are none', async () => {
  const datadir = dataDirectory();
  const { stdout } = await audit([datadir, '--prometheus']);
  expect(stdout).toMatch(/^# HELP mariadb_aws_kms_audit_info .*\d\n$/s);
  for (const paths of [[join(datadir, 'd/t.ibd')], [datadir, root]])
    await expectKeyError(
      audit([...paths, '--prometheus']),
      'BAD_OPTION',
      /^--prometheus: metrics are of one data directory/,
    );
});

it('a report that was not written costs no result, and has its own status', async () => {
  const datadir = dataDirectory();
  const html = join(root, 'audit.html');
  const stdout: string[] = [];
  const print = (line: string): void => {
    stdout.push(line);
    if (stdout.length === 1) writeFileSync(html, 'meanwhile');
  };
  const { status, stderr } = await audit([datadir, '--html', html], { stdout: print });
  expect({ status, stderr }).toEqual({
    status: 4,
    stderr: `mariadb-aws-kms: error: --html: ${html} exists\nhint: name a new file: none is replaced\n`,
  });
  expect(stdout.length).toBeGreaterThan(5);
});

it('a signal ends the audit, and clears the line of its progress', async () => {
  const lines: string[] = [];
  let forgotten = 0;
  const onSignal = (handler: () => void): (() => void) => {
    handler();
    return () => {
      forgotten += 1;
    };
  };
  const ended = audit([dataDirectory()], { onSignal, redraw: (line) => void lines.push(line) });
  await expectKeyError(ended, 'TIMEOUT', 'interrupted');
  expect({ forgotten, lines }).toEqual({ forgotten: 1, lines: [''] });
});

it('bad usage is refused before anything is read', async () => {
  await expectKeyError(audit(['--require-version', '1.x']), 'BAD_OPTION', /expected a key version, or KEY-ID.VERSION$/);
  await expectKeyError(audit(['--datadir', root, root]), 'BAD_OPTION', /^--datadir and files or directories/);
  await expectKeyError(
    audit([root, '--keyfile-dir', join(root, 'no')]),
    'STORE_UNAVAILABLE',
    /^cannot list the key directory/,
  );
});

it('a directory that is empty, or not there, is never one without needs', async () => {
  mkdirSync(join(root, 'empty'));
  for (const path of ['empty', 'absent'])
    expect(await auditJson([join(root, path), '--require-encrypted']), path).toMatchObject({ status: 3, ok: false });
});

it('progress is redrawn on a terminal, cleared at the end, and absent with --quiet', async () => {
  const datadir = dataDirectory();
  let nowMs = 0;
  const lines: string[] = [];
  const surroundings = outside(undefined);
  const monotonicMs = (): number => {
    nowMs += 1_000;
    return nowMs;
  };
  const clock = { ...surroundings.clock, monotonicMs };
  const io = (): Partial<CliIo> => ({ redraw: (line) => void lines.push(line) });
  const run = async (args: readonly string[]): Promise<void> => {
    const full: CliIo = {
      stdout: () => undefined,
      stderr: () => undefined,
      onSignal: () => () => undefined,
      hasColours: false,
      columns: 80,
      isInteractive: true,
      ask: () => Promise.resolve(''),
      exit: () => undefined,
      ...io(),
    };
    await auditCommand(full, () => ({ ...surroundings, clock })).parseAsync(args, { from: 'user' });
  };
  await run([datadir]);
  expect(lines).toEqual([
    expect.stringMatching(/^audit: 1 file, \d\S* \w+ read$/),
    expect.stringMatching(/^audit: 2 files/),
    expect.stringMatching(/^audit: 3 files/),
    expect.stringMatching(/^audit: 4 files/),
    '',
  ]);
  lines.length = 0;
  await run([datadir, '--quiet']);
  expect(lines).toEqual([]);
});
