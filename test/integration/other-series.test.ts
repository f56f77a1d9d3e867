/** The plugin as built here, in a server of the other supported series: one binary serves both. */
import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { type OtherServer, otherServer } from '../../harness/other-server.ts';
import {
  AGENT,
  EVERYTHING_ENCRYPTED,
  pluginOptions,
  ScratchServer,
  type ServerOptions,
} from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { TEMPLATE } from '../support/global-setup.ts';
import { agentsOf, keyFiles, operations, sqlError, startKms } from '../support/lab.ts';
import { backUp, prepare } from '../support/mariadb-backup.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

let other: OtherServer;

// The first run downloads about 35 MB.
beforeAll(async () => {
  other = await otherServer();
}, 600_000);

type Series = Pick<OtherServer, 'parts' | 'options'>;
const INSTALLED = { parts: {}, options: {} };

function serverOf(series: Series | typeof INSTALLED, directory: string, kms: DevKms, options: ServerOptions = {}) {
  const server = new ScratchServer({
    directory,
    options: pluginOptions(kms.url, { ...series.options, ...options }),
    ...series.parts,
  });
  cleanUp(() => server.kill());
  return server;
}

async function startOther(kms: DevKms, options: ServerOptions = {}): Promise<ScratchServer> {
  const server = serverOf(other, scratchDirectory(), kms, options);
  server.copyDatabase(other.template);
  await server.start();
  return server;
}

async function createTable(server: ScratchServer, keyId = 3): Promise<void> {
  await server.sql('CREATE DATABASE IF NOT EXISTS d');
  await server.sql(`CREATE TABLE d.t${keyId} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${keyId}`);
  await server.sql(`INSERT INTO d.t${keyId} VALUES (42)`);
}

async function latest(server: ScratchServer, id: number): Promise<string | undefined> {
  return await server.variable('STATUS', `Aws_key_management_key_${id}_latest_version`);
}

it("in the other series the plugin is active, and its agent is the usual one, not under the server's loader", async () => {
  const server = await startOther(await startKms());
  const [version] = await server.sql('SELECT VERSION() AS version');
  expect(version?.['version']).toMatch(new RegExp(`^${other.series.replace('.', '\\.')}\\.`));
  expect(
    await server.sql(
      "SELECT PLUGIN_STATUS AS status, PLUGIN_TYPE AS type, LOAD_OPTION AS activation FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'aws_key_management'",
    ),
  ).toEqual([{ status: 'ACTIVE', type: 'ENCRYPTION', activation: 'FORCE_PLUS_PERMANENT' }]);
  const [agent = 0, ...more] = await agentsOf(server);
  expect(more).toEqual([]);
  expect(readlinkSync(`/proc/${agent}/exe`)).toBe(realpathSync(AGENT));
  expect(readFileSync(`/proc/${agent}/environ`, 'utf8')).not.toContain('LD_');
});

it('in the other series keys are created, rotated and listed, and a restart reads everything', async () => {
  const kms = await startKms();
  const server = await startOther(kms);
  await createTable(server, 3);
  await createTable(server, 4);
  expect(server.log).toMatch(/\[Note\] .*AWS KMS plugin: generated encrypted datakey for key id=3, version=1/);

  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  expect(await latest(server, 3)).toBe('2');
  expect(await latest(server, 4)).toBe('1');
  await server.sql('SET GLOBAL aws_key_management_encryption_algorithm=AES_CTR');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect(await latest(server, 3)).toBe('3');
  expect(await latest(server, 4)).toBe('2');
  expect(server.log).toContain('AWS KMS plugin: generated encrypted datakey for key id=3, version=3');
  const status = await server.sql("SHOW GLOBAL STATUS LIKE 'Aws_key_management%'");
  expect(status).toContainEqual({ Variable_name: 'Aws_key_management_key_3_latest_version', Value: '3' });
  expect(status).toContainEqual({ Variable_name: 'Aws_key_management_rotations', Value: '4' });

  await server.sql('INSERT INTO d.t3 VALUES (43)');
  await server.restart();
  expect(server.log).toContain('AWS KMS plugin: loaded key 3, version 3, key length 128 bit, AES_CTR');
  expect(await server.sql('SELECT i FROM d.t3 ORDER BY i')).toEqual([{ i: 42 }, { i: 43 }]);
  expect(await server.sql('SELECT i FROM d.t4')).toEqual([{ i: 42 }]);
});

it('in the other series refusals are SQL errors with a text', async () => {
  const kms = await startKms();
  const server = await startOther(kms);
  await createTable(server);
  kms.faults.set([{ kind: 'error', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3')).toMatch(
    /^AWS KMS plugin: key 3 version 2 \(master key alias\/mariadb-encryption\): KMS GenerateDataKeyWithoutPlaintext failed: AccessDeniedException: no/,
  );
  expect(await server.variable('STATUS', 'Aws_key_management_last_error')).toContain('AccessDeniedException');
  kms.faults.clear();
  expect(await latest(server, 3)).toBe('1');

  expect(await sqlError(server, 'SET GLOBAL aws_key_management_master_key_id=NULL')).toBe(
    'AWS KMS plugin: aws_key_management_master_key_id: expected a string, got NULL',
  );
  const arn = kms.keyArns[0] ?? '';
  await server.sql(`SET GLOBAL aws_key_management_master_key_id='${arn}'`);
  expect(await server.variable('VARIABLES', 'aws_key_management_master_key_id')).toBe(arn);

  // The servers differ in what they read of the list of an ENUM's values.
  expect(await sqlError(server, "SET GLOBAL aws_key_management_key_spec='AES_192'")).toContain("can't be set to");
  await server.sql("SET GLOBAL aws_key_management_key_spec='AES_256'");
  await server.sql("SET GLOBAL aws_key_management_log_level='Trace'");
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  expect(await latest(server, 3)).toBe('2');
  expect(server.log).toContain('AWS KMS plugin: loaded key 3, version 2, key length 256 bit');
});

it('in the other series the plugin can be uninstalled if not permanent, and goes at shutdown', async () => {
  const server = await startOther(await startKms(), { aws_key_management: 'ON' });
  await createTable(server);
  const connection = await server.connect();
  await connection.query('UNINSTALL PLUGIN aws_key_management');
  const warnings: unknown = await connection.query('SHOW WARNINGS');
  expect(warnings).toMatchObject([
    { Level: 'Warning', Code: 1620, Message: 'Plugin is busy and will be uninstalled on shutdown' },
  ]);
  await server.sql('INSERT INTO d.t3 VALUES (43)');
  await server.stop();
  expect(server.log).toContain('Shutdown complete');
});

it("the other series' mariadb-backup copies and prepares an encrypted server, and never creates a key", async () => {
  const kms = await startKms();
  const server = await startOther(kms, EVERYTHING_ENCRYPTED);
  await createTable(server);
  await server.sql('SET GLOBAL aws_key_management_encryption_algorithm=AES_CTR');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  await server.sql('INSERT INTO d.t3 VALUES (43)');
  const target = join(server.directory, 'backup');
  kms.calls.clear();
  const copied = await backUp(server, target, { command: other.backup });
  expect(copied).toContain('completed OK!');
  await server.stop();
  const prepared = await prepare(target, { command: other.backup });
  expect(prepared).toContain('completed OK!');
  expect(new Set(operations(kms))).toEqual(new Set(['Decrypt']));
  expect(keyFiles(target)).toEqual(keyFiles(server.datadir));
});

it('an encrypted data directory of the older series opens in the newer one', async () => {
  const kms = await startKms();
  const directory = scratchDirectory();
  const [older, newer] = other.isNewer ? [INSTALLED, other] : [other, INSTALLED];
  const before = serverOf(older, directory, kms);
  before.copyDatabase(other.isNewer ? TEMPLATE : other.template);
  await before.start();
  await createTable(before);
  await before.sql('SET GLOBAL aws_key_management_encryption_algorithm=AES_CTR');
  await before.sql('SET GLOBAL aws_key_management_rotate_key=3');
  await before.sql('INSERT INTO d.t3 VALUES (43)');
  await before.stop();
  const files = keyFiles(before.datadir);

  const after = serverOf(newer, directory, kms);
  await after.start();
  expect(await after.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }, { i: 43 }]);
  expect(await latest(after, 3)).toBe('2');
  expect(keyFiles(after.datadir)).toEqual(files);
  await after.sql('SET GLOBAL aws_key_management_rotate_key=3');
  expect(await latest(after, 3)).toBe('3');
});
