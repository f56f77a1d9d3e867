/** State transfer between two Galera nodes: the key files arrive with the data, or the joiner says that they did not. */
import { chmodSync, mkdirSync, renameSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { beforeAll, expect, it, vi } from 'vitest';
import { sstScripts } from '../../harness/sst-scripts.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { commandsIn, copyKeyFiles, joinCluster, type Node, newNode, type SstMethod } from '../support/galera.ts';
import { keyFiles, operations, startKms } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

/** `npm run test:galera` sets it; otherwise there are only the fast tests. */
const all = process.env['MAK_GALERA'] === 'all';
let scripts: string;

// A transfer runs hundreds of small programs, which a busy machine starts slowly.
vi.setConfig({ testTimeout: 300_000 });

// The first run downloads about 4 MB.
beforeAll(async () => {
  scripts = await sstScripts();
}, 600_000);

const KEY_IDS = [1, 3, 7];

async function startDonor(kms: DevKms, method: SstMethod, keyfileDir?: string): Promise<Node> {
  const donor = await newNode(kms, method, [], { aws_key_management_keyfile_dir: keyfileDir });
  const { server } = donor;
  if (keyfileDir?.startsWith('/') === false) mkdirOpen(join(server.datadir, keyfileDir));
  await joinCluster(donor);
  await server.sql('CREATE DATABASE d');
  for (const id of KEY_IDS) {
    await server.sql(`CREATE TABLE d.t${id} (i INT PRIMARY KEY) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
    await server.sql(`INSERT INTO d.t${id} VALUES (1)`);
  }
  await server.sql('CREATE TABLE d.aria (i INT) ENGINE=Aria');
  await server.sql('INSERT INTO d.aria VALUES (1)');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  await server.sql('INSERT INTO d.t3 VALUES (2)');
  return donor;
}

/** A node runs as another user than root. */
function mkdirOpen(path: string): string {
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o777);
  return path;
}

function openDirectory(): string {
  const parent = scratchDirectory();
  chmodSync(parent, 0o755);
  return mkdirOpen(join(parent, 'keys'));
}

async function expectEverything({ server }: Node): Promise<void> {
  for (const id of KEY_IDS) {
    const rows = id === 3 ? [{ i: 1 }, { i: 2 }] : [{ i: 1 }];
    expect(await server.sql(`SELECT i FROM d.t${id} ORDER BY i`)).toEqual(rows);
  }
  expect(await server.sql('SELECT i FROM d.aria')).toEqual([{ i: 1 }]);
}

async function expectRefused({ server }: Node): Promise<void> {
  await expect(server.start()).rejects.toThrow('mariadbd did not start');
  expect(server.log).toMatch(
    /AWS KMS plugin: key 1 version 1 is not among the key files in \/\S+, and ib_logfile0 in the data directory is encrypted with it; no new key is made in its place, and nothing was changed; if their file system is not mounted, mount it; otherwise copy the files aws-kms-key\.\* from where this data came from \(the donor of a Galera state transfer/,
  );
  expect(server.log).not.toContain('generated encrypted datakey');
}

it('after rsync, which leaves key files behind, the joiner refuses, creates no key, and joins when they are copied', async () => {
  const kms = await startKms();
  const donor = await startDonor(kms, 'rsync');
  const joiner = await newNode(kms, 'rsync', [donor]);
  kms.calls.clear();
  const used = new Set<string>();
  const watch = setInterval(() => {
    for (const command of commandsIn(joiner.server.directory).flat())
      if (command.endsWith('/wsrep_sst_rsync')) used.add(normalize(command));
  }, 500);
  await expectRefused(joiner).finally(() => clearInterval(watch));
  expect([...used]).toEqual([join(scripts, 'wsrep_sst_rsync')]);
  expect(operations(kms)).toEqual([]);
  expect(keyFiles(joiner.server.datadir)).toEqual([]);

  copyKeyFiles(donor.server.datadir, joiner.server.datadir);
  await joinCluster(joiner);
  await expectEverything(joiner);
  expect(new Set(operations(kms))).toEqual(new Set(['Decrypt']));

  // Each node rotates its own keys; later writes arrive as rows, not as pages.
  await joiner.server.stop();
  await donor.server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  await donor.server.sql('CREATE TABLE d.meanwhile (i INT PRIMARY KEY) ENCRYPTED=YES ENCRYPTION_KEY_ID=9');
  await donor.server.sql('INSERT INTO d.meanwhile VALUES (1)');
  await joinCluster(joiner);
  expect(joiner.server.log.slice(joiner.server.log.lastIndexOf('Starting MariaDB'))).toContain('Receiving IST');
  expect(await joiner.server.sql('SELECT i FROM d.meanwhile')).toEqual([{ i: 1 }]);
  expect(await joiner.server.variable('STATUS', 'Aws_key_management_key_3_latest_version')).toBe('2');
  expect(await donor.server.variable('STATUS', 'Aws_key_management_key_3_latest_version')).toBe('3');
});

it("after rsync, a joiner with keys of its own under the same ids refuses until it has the donor's", async () => {
  const kms = await startKms();
  const donor = await startDonor(kms, 'rsync');
  const joiner = await newNode(kms, 'rsync', [donor]);
  const { server } = joiner;
  const { options } = server;
  server.options = { ...options, wsrep_on: 'OFF' };
  await server.start();
  await server.stop();
  server.options = options;
  const own = keyFiles(server.datadir);
  expect(own).toContain('aws-kms-key.1.1');
  kms.calls.clear();
  await expect(server.start()).rejects.toThrow('mariadbd did not start');
  expect(server.log).toContain(
    `AWS KMS plugin: key 1 version 1 is among the key files in ${server.datadir}, but ibdata1 in the data directory is encrypted with another key of this number; nothing was changed`,
  );
  expect(new Set(operations(kms))).toEqual(new Set(['Decrypt']));
  expect(keyFiles(server.datadir)).toEqual(own);

  const away = openDirectory();
  for (const file of own) renameSync(join(server.datadir, file), join(away, file));
  copyKeyFiles(donor.server.datadir, server.datadir);
  await joinCluster(joiner);
  await expectEverything(joiner);
});

it('a transfer by mariabackup copies the key files of the data directory', async () => {
  const kms = await startKms();
  const donor = await startDonor(kms, 'mariabackup');
  const joiner = await newNode(kms, 'mariabackup', [donor]);
  kms.calls.clear();
  await joinCluster(joiner);
  await expectEverything(joiner);
  expect(new Set(operations(kms))).toEqual(new Set(['Decrypt']));
  expect(keyFiles(joiner.server.datadir)).toEqual(keyFiles(donor.server.datadir));
});

if (all) {
  it('a transfer by rsync copies a keyfile_dir below the data directory', async () => {
    const kms = await startKms();
    const donor = await startDonor(kms, 'rsync', 'keys');
    const joiner = await newNode(kms, 'rsync', [donor], { aws_key_management_keyfile_dir: 'keys' });
    mkdirOpen(join(joiner.server.datadir, 'keys'));
    await joinCluster(joiner);
    await expectEverything(joiner);
    expect(keyFiles(join(joiner.server.datadir, 'keys'))).toEqual(keyFiles(join(donor.server.datadir, 'keys')));
  });

  for (const method of ['rsync', 'mariabackup'] as const) {
    it(`a transfer by ${method} works with one keyfile_dir for both nodes`, async () => {
      const kms = await startKms();
      const keys = openDirectory();
      const donor = await startDonor(kms, method, keys);
      const joiner = await newNode(kms, method, [donor], { aws_key_management_keyfile_dir: keys });
      const before = keyFiles(keys);
      await joinCluster(joiner);
      await expectEverything(joiner);
      expect(keyFiles(keys)).toEqual(before);
    });
  }
}
