/**
 * Encrypted data of every kind in every place that a server can keep it: no key is created instead of one that it
 * needs.
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  pluginOptions,
  type ScratchServer,
  type ServerOptions,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { keyFiles, newServer, startKms } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

interface Place {
  /** A scratch directory of this test, outside the data directory. */
  readonly elsewhere: string;
  readonly keys: string;
  readonly server: ScratchServer;
}

interface Kind {
  readonly name: string;
  readonly options: (elsewhere: string) => ServerOptions;
  /** Files of the fresh data directory that belong elsewhere with these options. */
  readonly moved?: RegExp;
  readonly make: (place: Place) => Promise<void>;
  /** The key that the refusal names. */
  readonly key: string;
  readonly file: (elsewhere: string) => string;
  readonly check: (place: Place) => Promise<void>;
  /** The data directory is named in an option file instead of on the command line. */
  readonly optionFile?: string;
}

const ROWS = 'SELECT COUNT(*) AS n, SUM(i) AS sum FROM d.t';

async function table(server: ScratchServer, options: string): Promise<void> {
  await server.sql('CREATE DATABASE d');
  await server.sql(`CREATE TABLE d.t (i INT PRIMARY KEY) ${options}`);
  await server.sql('INSERT INTO d.t SELECT seq FROM d.seq_1_to_1000');
}

async function tableIsWhole({ server }: Place): Promise<void> {
  expect(await server.sql(ROWS)).toEqual([{ n: 1000, sum: '500500' }]);
}

async function encryptedSystemTablespace({ server }: Place): Promise<void> {
  await table(server, 'ENGINE=InnoDB');
  await systemTablespaceIsEncrypted(server);
}

async function systemTablespaceIsEncrypted(server: ScratchServer): Promise<void> {
  await until(
    'the system tablespace is encrypted',
    async () => {
      const [row] = await server.sql(
        "SELECT MIN_KEY_VERSION AS version FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME='innodb_system'",
      );
      return row?.['version'] === 1;
    },
    120,
  );
}

async function replicates(server: ScratchServer, connection: string, directory: string): Promise<void> {
  await server.sql(`CHANGE MASTER ${connection} TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='nobody'`);
  await server.sql(`START SLAVE ${connection}`);
  await server.sql(`STOP SLAVE ${connection}`);
  await until('a relay log', () => readdirSync(directory).some((file) => /^relay(?:-one)?\.0/.test(file)), 60);
}

const ENCRYPTED_TABLE = 'ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5';

const KINDS: readonly Kind[] = [
  {
    name: 'a table with DATA DIRECTORY',
    options: () => ({}),
    make: ({ server, elsewhere }) => table(server, `${ENCRYPTED_TABLE} DATA DIRECTORY='${elsewhere}'`),
    key: 'key 5 ',
    file: (elsewhere) => `${elsewhere}/d/t.ibd`,
    check: tableIsWhole,
  },
  {
    name: 'a partition with DATA DIRECTORY',
    options: () => ({}),
    make: ({ server, elsewhere }) =>
      table(
        server,
        `${ENCRYPTED_TABLE} PARTITION BY RANGE (i) (PARTITION p0 VALUES LESS THAN MAXVALUE DATA DIRECTORY='${elsewhere}')`,
      ),
    key: 'key 5 ',
    file: (elsewhere) => `${elsewhere}/d/t#P#p0.ibd`,
    check: tableIsWhole,
  },
  {
    name: 'the redo log on a volume of its own',
    options: (elsewhere) => ({ innodb_encrypt_log: 'ON', innodb_log_group_home_dir: elsewhere }),
    moved: /^ib_logfile0$/,
    make: ({ server }) => table(server, 'ENGINE=InnoDB ENCRYPTED=NO'),
    key: 'key 1 version 1 ',
    file: (elsewhere) => `${elsewhere}/ib_logfile0`,
    check: tableIsWhole,
  },
  {
    name: 'the redo log on a volume that an option file names',
    options: (elsewhere) => ({ 'innodb-encrypt-log': 'ON', 'loose-innodb_Log_group_home_dir': `${elsewhere}/` }),
    optionFile: '[client]\nport=1\n',
    moved: /^ib_logfile0$/,
    make: ({ server }) => table(server, 'ENGINE=InnoDB ENCRYPTED=NO'),
    key: 'key 1 version 1 ',
    file: (elsewhere) => `${elsewhere}/ib_logfile0`,
    check: tableIsWhole,
  },
  {
    name: 'the system tablespace in a directory of its own',
    options: (elsewhere) => ({
      innodb_data_home_dir: elsewhere,
      innodb_encrypt_tables: 'ON',
      innodb_encryption_threads: 2,
    }),
    moved: /^ibdata1$/,
    make: encryptedSystemTablespace,
    key: 'key 1 ',
    file: (elsewhere) => `${elsewhere}/ibdata1`,
    check: tableIsWhole,
  },
  {
    name: 'the system tablespace by a whole path',
    options: (elsewhere) => ({
      innodb_data_home_dir: '',
      innodb_data_file_path: `${elsewhere}/ibdata1:12M:autoextend`,
      innodb_encrypt_tables: 'ON',
      innodb_encryption_threads: 2,
    }),
    moved: /^ibdata1$/,
    make: encryptedSystemTablespace,
    key: 'key 1 ',
    file: (elsewhere) => `${elsewhere}/ibdata1`,
    check: tableIsWhole,
  },
  {
    name: 'Aria alone',
    options: () => ({ aria_encrypt_tables: 'ON' }),
    make: ({ server }) => table(server, 'ENGINE=Aria'),
    key: 'key 1 version 1 ',
    file: () => 'd/t.MAI in the data directory',
    check: tableIsWhole,
  },
  {
    name: 'Aria with directories of its own',
    options: () => ({ aria_encrypt_tables: 'ON' }),
    make: ({ server, elsewhere }) =>
      table(server, `ENGINE=Aria DATA DIRECTORY='${elsewhere}' INDEX DIRECTORY='${elsewhere}'`),
    key: 'key 1 version 1 ',
    file: () => 'd/t.MAI in the data directory',
    check: tableIsWhole,
  },
  {
    name: 'the binary log alone, elsewhere',
    options: (elsewhere) => ({ encrypt_binlog: 'ON', log_bin: join(elsewhere, 'binlog'), server_id: 1 }),
    make: ({ server }) => table(server, 'ENGINE=InnoDB ENCRYPTED=NO'),
    key: 'key 1 version 1 ',
    file: (elsewhere) => `${elsewhere}/binlog.000001`,
    check: async (place) => {
      await tableIsWhole(place);
      const events = await place.server.sql("SHOW BINLOG EVENTS IN 'binlog.000001'");
      expect(events.length).toBeGreaterThan(3);
    },
  },
  {
    name: 'the binary log alone, with an index of its own',
    options: (elsewhere) => ({
      encrypt_binlog: 'ON',
      log_bin: 'binlog',
      log_bin_index: join(elsewhere, 'names.list'),
      server_id: 1,
    }),
    make: ({ server }) => table(server, 'ENGINE=InnoDB ENCRYPTED=NO'),
    key: 'key 1 version 1 ',
    file: () => 'binlog.000001 in the data directory',
    check: tableIsWhole,
  },
  {
    name: 'the relay log alone, elsewhere',
    options: (elsewhere) => ({ encrypt_binlog: 'ON', relay_log: join(elsewhere, 'relay'), server_id: 1 }),
    make: async ({ server, elsewhere }) => {
      await table(server, 'ENGINE=InnoDB ENCRYPTED=NO');
      await replicates(server, '', elsewhere);
    },
    key: 'key 1 version 1 ',
    file: (elsewhere) => `${elsewhere}/relay.00000`,
    check: tableIsWhole,
  },
  {
    name: 'the relay log of a named connection alone',
    options: () => ({ encrypt_binlog: 'ON', relay_log: 'relay', server_id: 1 }),
    make: async ({ server }) => {
      await table(server, 'ENGINE=InnoDB ENCRYPTED=NO');
      await replicates(server, "'one'", server.datadir);
    },
    key: 'key 1 version 1 ',
    file: () => 'relay-one.00000',
    check: tableIsWhole,
  },
];

/** Not started yet; its key files are in a directory of their own. */
function placeOf(kind: Kind, kms: DevKms): Place {
  const [keys, elsewhere] = [scratchDirectory(), scratchDirectory()];
  const options = pluginOptions(kms.url, { ...kind.options(elsewhere), aws_key_management_keyfile_dir: keys });
  const parts = kind.optionFile === undefined ? {} : { optionFile: kind.optionFile };
  const server = newServer(options, parts);
  for (const file of readdirSync(server.datadir))
    if (kind.moved?.test(file)) {
      cpSync(join(server.datadir, file), join(elsewhere, file));
      rmSync(join(server.datadir, file));
    }
  return { elsewhere, keys, server };
}

function moveKeys(from: string, to: string, which = /aws-kms/): void {
  for (const file of keyFiles(from)) if (which.test(file)) renameSync(join(from, file), join(to, file));
}

function lastStart({ server }: Place): string {
  return server.log.slice(server.log.lastIndexOf('Starting MariaDB'));
}

describe.each(KINDS)('a server without its key files whose encrypted data is $name', (kind) => {
  it('the server refuses to start, names key, file and directory, and creates no key', async () => {
    const kms = await startKms();
    const place = placeOf(kind, kms);
    const { server, keys, elsewhere } = place;
    // A control: when nothing is encrypted, these options create the keys.
    await server.start();
    await kind.make(place);
    await server.stop();
    const before = keyFiles(keys);
    expect(before.length).toBeGreaterThan(0);

    const away = scratchDirectory();
    moveKeys(keys, away);
    await expect(server.start()).rejects.toThrow('Failed to initialize plugins');
    expect(lastStart(place)).toContain(`AWS KMS plugin: ${kind.key}`);
    expect(lastStart(place)).toContain(`is not among the key files in ${keys}, and ${kind.file(elsewhere)}`);
    expect(keyFiles(keys)).toEqual([]);
    if (!/\.(?:ibd|MAI)/.test(kind.file(elsewhere))) expect(lastStart(place)).not.toContain('move that file away');

    moveKeys(away, keys);
    await server.start();
    await kind.check(place);
    expect(keyFiles(keys)).toEqual(before);
  });
});

describe('a server with special start options', () => {
  it('a server with --no-defaults ignores the option files of its environment', async () => {
    const home = scratchDirectory();
    const [redo, relay] = [join(home, 'redo'), join(home, 'relay')];
    writeFileSync(
      join(home, 'my.cnf'),
      `[mariadbd]\ninnodb_log_group_home_dir=${redo}\nrelay_log=${relay}/relay\n[mariadbd-a]\ninnodb_undo_directory=${home}/undo\n`,
    );
    const environment = { ...TEST_CREDENTIALS, MYSQL_HOME: home, MYSQL_GROUP_SUFFIX: '-a' };
    const server = newServer(pluginOptions((await startKms()).url), { environment });
    await server.start();
    await table(server, ENCRYPTED_TABLE);
    expect(keyFiles(server.datadir)).toContain('aws-kms-key.5.1');
  });

  it('the first encrypted Aria table of a server without keys gets a key', async () => {
    const { plugin_load_add: _, aws_key_management: __, ...rest } = pluginOptions((await startKms()).url);
    const loose = Object.fromEntries(Object.entries(rest).map(([name, value]) => [`loose_${name}`, value]));
    const server = newServer({ ...loose, aria_encrypt_tables: 'ON' });
    await server.start();
    await server.sql("INSTALL SONAME 'aws_key_management'");
    expect(keyFiles(server.datadir)).toEqual([]);
    await table(server, 'ENGINE=Aria');
    expect(await server.sql(ROWS)).toEqual([{ n: 1000, sum: '500500' }]);
    expect(keyFiles(server.datadir)).toContain('aws-kms-key.1.1');
  });
});

describe('a server that lacks one key of several', () => {
  it.each(KINDS.filter(({ key }) => key === 'key 5 '))(
    '$name blocks its id and the reason names the file',
    async (kind) => {
      const place = placeOf(kind, await startKms());
      const { server, keys, elsewhere } = place;
      await server.start();
      await kind.make(place);
      await server.sql('CREATE TABLE d.other (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=6');
      await server.stop();
      const away = scratchDirectory();
      moveKeys(keys, away, /\.5\./);
      await server.start();
      await expect(server.sql(`CREATE TABLE d.new (i INT) ${ENCRYPTED_TABLE}`)).rejects.toThrow();
      expect(lastStart(place)).toContain(
        `key 5 is not among the key files in ${keys}, and ${kind.file(elsewhere)} is encrypted with it: no new key is made in its place; restore the files aws-kms-key.5.*`,
      );
      expect(keyFiles(keys).filter((file) => file.includes('.5.'))).toEqual([]);
      await server.stop();
      moveKeys(away, keys);
      await server.start();
      await kind.check(place);
    },
  );
});

/** A file of another server, with its key id, below the data directory of one without such keys. */
async function strayTable(stray: Place, files: RegExp): Promise<{ server: ScratchServer; keys: string; away: string }> {
  await stray.server.stop();
  const keys = scratchDirectory();
  const server = newServer({ ...stray.server.options, aws_key_management_keyfile_dir: keys });
  mkdirSync(join(server.datadir, 'd'));
  for (const file of readdirSync(join(stray.server.datadir, 'd')))
    if (files.test(file)) cpSync(join(stray.server.datadir, 'd', file), join(server.datadir, 'd', file));
  return { server, keys, away: scratchDirectory() };
}

describe('a data directory with a file of another server', () => {
  const cures = [
    {
      name: 'a table of InnoDB',
      kind: KINDS.find(({ name }) => name === 'a table with DATA DIRECTORY'),
      make: (server: ScratchServer) => table(server, ENCRYPTED_TABLE),
      files: /^t\.ibd$/,
      cure: 'if no table of this server is in that file, move that file away instead',
      moved: /^t\.ibd$/,
    },
    {
      name: 'a link to a table of InnoDB',
      kind: KINDS.find(({ name }) => name === 'a table with DATA DIRECTORY'),
      make: undefined,
      files: /^t\.isl$/,
      cure: 'if no table of this server is in that file, move the .isl file of its name out of the data directory instead',
      moved: /^t\.isl$/,
    },
    {
      name: 'a table of Aria',
      kind: KINDS.find(({ name }) => name === 'Aria alone'),
      make: undefined,
      files: /^t\.MA[DI]$/,
      cure: 'if no table of this server is in that file, move that file and its .MAD away instead',
      moved: /^t\.MA[DI]$/,
    },
  ];

  it.each(cures)(
    '$name: the server starts once the file is moved as the message says',
    async ({ kind, make, files, cure, moved }) => {
      if (kind === undefined) throw new Error('no such kind');
      const stray = placeOf(kind, await startKms());
      await stray.server.start();
      if (make === undefined) await kind.make(stray);
      else await make(stray.server);
      const { server, keys, away } = await strayTable(stray, files);
      await expect(server.start()).rejects.toThrow(cure);
      expect(keyFiles(keys)).toEqual([]);

      const folder = join(server.datadir, 'd');
      for (const file of readdirSync(folder)) if (moved.test(file)) renameSync(join(folder, file), join(away, file));
      await server.start();
      await server.sql(`CREATE TABLE d.new (i INT PRIMARY KEY) ${ENCRYPTED_TABLE}`);
      expect(keyFiles(keys)).toContain('aws-kms-key.5.1');
    },
  );
});

describe('a server with an unreadable file', () => {
  it('a link without its target blocks new keys until the link or the target is dealt with', async () => {
    const kind = KINDS[0];
    if (kind === undefined) throw new Error('no such kind');
    const place = placeOf(kind, await startKms());
    const { server, keys, elsewhere } = place;
    await server.start();
    await kind.make(place);
    await server.stop();
    const away = scratchDirectory();
    moveKeys(keys, away, /\.5\./);
    renameSync(join(elsewhere, 'd'), join(elsewhere, 'unmounted'));
    await server.start();
    await expect(server.sql(`CREATE TABLE d.new (i INT) ${ENCRYPTED_TABLE}`)).rejects.toThrow();
    expect(lastStart(place)).toContain(
      `and data may be encrypted with it: no new key is made in its place, because ${elsewhere}/d/t.ibd cannot be looked at: it is not there`,
    );
    expect(existsSync(join(keys, 'aws-kms-key.5.1'))).toBe(false);
    await server.stop();
    renameSync(join(elsewhere, 'unmounted'), join(elsewhere, 'd'));
    moveKeys(away, keys);
    await server.start();
    await kind.check(place);
  });

  it('an option file that only root may read blocks new keys until it is readable', async () => {
    expect(process.getuid?.(), 'this test needs root, which runs a server of another user').toBe(0);
    const kms = await startKms();
    const directory = scratchDirectory();
    const secret = join(directory, 'secret.cnf');
    writeFileSync(secret, '[server]\ninnodb_stats_auto_recalc=ON\n', { mode: 0o600 });
    const server = newServer(pluginOptions(kms.url), { user: 'nobody', optionFile: `!include ${secret}\n` });
    await server.start();
    await server.sql('CREATE DATABASE d');
    const create = (): Promise<unknown> => server.sql(`CREATE TABLE d.t (i INT) ${ENCRYPTED_TABLE}`);
    await expect(create()).rejects.toThrow();
    expect(server.log).toContain(
      'because the option files that the server was started with cannot be read any more; make the option files readable for the server',
    );
    expect(keyFiles(server.datadir)).toEqual([]);
    await server.stop();
    chmodSync(directory, 0o755);
    chmodSync(secret, 0o644);
    await server.start();
    await create();
    expect(keyFiles(server.datadir)).toContain('aws-kms-key.5.1');
  });
});
