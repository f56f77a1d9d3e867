import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions } from '../../harness/scratch-server.ts';
import manifest from '../../package.json' with { type: 'json' };
import { newServer, sqlError, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const { version } = manifest;
const PLUGIN_ROW =
  "SELECT PLUGIN_STATUS AS status, PLUGIN_TYPE AS type, PLUGIN_LICENSE AS license, PLUGIN_MATURITY AS maturity, PLUGIN_VERSION AS number, PLUGIN_AUTH_VERSION AS version, LOAD_OPTION AS activation FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'aws_key_management'";

/** Options that make initialisation fail at once: the key directory is not there. */
const FAILING = { aws_key_management_keyfile_dir: '/nowhere' };

it('the plugin is an ENCRYPTION plugin with its name, GPL and stable, and of the release in package.json', async () => {
  const server = await startServer(await startKms());
  expect(await server.sql(PLUGIN_ROW)).toEqual([
    {
      status: 'ACTIVE',
      type: 'ENCRYPTION',
      license: 'GPL',
      maturity: 'Stable',
      number: version.split('.', 2).join('.'),
      version,
      activation: 'FORCE_PLUS_PERMANENT',
    },
  ]);
});

it.each([
  ["INSTALL SONAME 'aws_key_management'", "UNINSTALL SONAME 'aws_key_management'"],
  ["INSTALL PLUGIN aws_key_management SONAME 'aws_key_management'", 'UNINSTALL PLUGIN aws_key_management'],
])('the plugin is loaded with %s and unloaded with %s', async (install, uninstall) => {
  const kms = await startKms();
  const server = newServer({
    ...pluginOptions(kms.url),
    plugin_load_add: undefined,
    aws_key_management: undefined,
    loose: undefined,
  });
  server.options = Object.fromEntries(
    Object.entries(server.options).map(([name, value]) => [name.startsWith('aws_') ? `loose-${name}` : name, value]),
  );
  await server.start();
  await server.sql('CREATE DATABASE d');
  expect(await sqlError(server, 'CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES')).toContain(
    "Can't create table",
  );
  await server.sql(install);
  expect(await server.sql(PLUGIN_ROW)).toMatchObject([{ status: 'ACTIVE' }]);
  await server.sql("SET GLOBAL aws_key_management_master_key_id='alias/mariadb-encryption'");
  expect(await server.variable('VARIABLES', 'aws_key_management_endpoint_url')).toBe(kms.url);
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=6');
  await server.sql('INSERT INTO d.t VALUES (7)');

  // The server holds a reference to its encryption plugin for life, so that data in use stays readable.
  const connection = await server.connect();
  await connection.query(uninstall);
  const warnings: unknown = await connection.query('SHOW WARNINGS');
  expect(warnings).toMatchObject([
    { Level: 'Warning', Code: 1620, Message: 'Plugin is busy and will be uninstalled on shutdown' },
  ]);
  expect(await server.sql(PLUGIN_ROW)).toMatchObject([{ status: 'DELETED' }]);
  await server.sql('INSERT INTO d.t VALUES (8)');
  await server.stop();
  expect(server.log).toContain('Shutdown complete');

  // Uninstalled for good: the next start does not load it, and the data is there once it is installed again.
  await server.start();
  expect(await server.sql(PLUGIN_ROW)).toEqual([]);
});

it('the plugin is not loaded with OFF', async () => {
  const server = await startServer(await startKms(), { aws_key_management: 'OFF' });
  expect(await server.sql(PLUGIN_ROW)).toMatchObject([{ status: 'DISABLED' }]);
  expect(await server.sql("SHOW VARIABLES LIKE 'aws_key_management%'")).toEqual([]);
});

it('a server with ON starts without the plugin when it fails', async () => {
  const server = await startServer(await startKms(), { aws_key_management: 'ON', ...FAILING });
  expect(await server.sql(PLUGIN_ROW)).toEqual([]);
  expect(server.log).toContain("Plugin 'aws_key_management' init function returned error.");
});

it('a plugin loaded with ON works and can be uninstalled', async () => {
  const server = await startServer(await startKms(), { aws_key_management: 'ON' });
  expect(await server.sql(PLUGIN_ROW)).toMatchObject([{ status: 'ACTIVE', activation: 'ON' }]);
  await server.sql('UNINSTALL PLUGIN aws_key_management');
  expect(await server.sql(PLUGIN_ROW)).toMatchObject([{ status: 'DELETED' }]);
});

it.each(['FORCE', 'FORCE_PLUS_PERMANENT'])('a failing %s plugin keeps the server from starting', async (activation) => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { aws_key_management: activation, ...FAILING }));
  await expect(server.start()).rejects.toThrow(/Failed to initialize plugins/);
});

it('a plugin loaded with FORCE can be uninstalled, one with FORCE_PLUS_PERMANENT cannot', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  expect(await sqlError(server, 'UNINSTALL PLUGIN aws_key_management')).toBe(
    "Plugin 'aws_key_management' is force_plus_permanent and can not be unloaded",
  );
  expect(await sqlError(server, "UNINSTALL SONAME 'aws_key_management'")).toContain('force_plus_permanent');
  await server.stop();
  server.options = { ...server.options, aws_key_management: 'FORCE' };
  await server.start();
  await server.sql('UNINSTALL PLUGIN aws_key_management');
  expect(await server.sql(PLUGIN_ROW)).toMatchObject([{ status: 'DELETED' }]);
});

it('a server creates no key in place of a missing one whose tables exist', async () => {
  const keys = scratchDirectory();
  const server = await startServer(await startKms(), { aws_key_management_keyfile_dir: keys });
  await server.sql('CREATE DATABASE d');
  const create = (id: number): Promise<unknown> =>
    server.sql(`CREATE TABLE d.t${id} ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id} SELECT ${id} AS i`);
  await create(3);
  await server.stop();
  const files = readdirSync(keys).filter((file) => file.startsWith('aws-kms-key.3.'));
  expect(files).toHaveLength(2);
  const away = scratchDirectory();
  for (const file of files) renameSync(join(keys, file), join(away, file));
  await server.start();
  expect(await sqlError(server, 'SELECT * FROM d.t3')).not.toBe('');
  await until('the log says why', () =>
    server.log.includes('key 3 is not among the key files in ')
      ? true
      : server.sql('SELECT * FROM d.t3').then(
          () => true,
          () => false,
        ),
  );
  expect(server.log).toMatch(
    /and d\/t3\.ibd in the data directory is encrypted with it: no new key is made in its place; restore the files aws-kms-key\.3\.\*/,
  );
  await create(4);
  expect(readdirSync(keys).filter((file) => file.startsWith('aws-kms-key.3.'))).toEqual([]);
  await server.stop();
  for (const file of files) renameSync(join(away, file), join(keys, file));
  await server.start();
  expect(await server.sql('SELECT t3.i AS three, t4.i AS four FROM d.t3, d.t4')).toEqual([{ three: 3, four: 4 }]);
});
