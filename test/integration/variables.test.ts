import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions } from '../../harness/scratch-server.ts';
import { SETTING_NAMES } from '../../src/format/settings.ts';
import { keyFiles, newServer, operations, sqlError, startKms, startServer } from '../support/lab.ts';

it('the example configuration explains every variable and no other', async () => {
  const example = readFileSync(join(import.meta.dirname, '../../packaging/aws_key_management.cnf'), 'utf8');
  const explained = [...example.matchAll(/^#?(aws_key_management_\w+) =/gm)].map(([, name]) => name);
  const server = await startServer(await startKms());
  const rows = await server.sql("SHOW GLOBAL VARIABLES LIKE 'aws\\_key\\_management\\_%'");
  const names = rows
    .map(({ Variable_name }) => Variable_name)
    .filter((name) => name !== 'aws_key_management_rotate_key');
  expect([...explained].sort()).toEqual(names);
  expect(SETTING_NAMES.map((name) => `aws_key_management_${name}`).sort()).toEqual(
    [...names, 'aws_key_management_rotate_key'].sort(),
  );
});

it('SET refuses malformed values with the reason, and keeps the old ones', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_key_ids: '1-9' });
  const before = await server.sql("SHOW GLOBAL VARIABLES LIKE 'aws_key_management%'");
  const refused: readonly (readonly [string, RegExp])[] = [
    ['master_key_id=NULL', /aws_key_management_master_key_id.*NULL/],
    [`master_key_id=REPEAT('a', 5000)`, /aws_key_management_master_key_id.*2048/],
    ["master_key_id='alias/a b'", /aws_key_management_master_key_id/],
    ["master_key_id='alias/ä'", /aws_key_management_master_key_id/],
    ['key_ids=NULL', /aws_key_management_key_ids.*NULL/],
    ["key_ids='0'", /aws_key_management_key_ids/],
    ["key_ids='5-1'", /aws_key_management_key_ids/],
    ["key_ids='1;2'", /aws_key_management_key_ids/],
    ["key_ids='4294967296'", /aws_key_management_key_ids/],
    [`key_ids=REPEAT('1,', 5000)`, /aws_key_management_key_ids/],
    ['key_spec=NULL', /aws_key_management_key_spec/],
    ["key_spec='AES_192'", /aws_key_management_key_spec/],
    ['encryption_algorithm=NULL', /aws_key_management_encryption_algorithm/],
    ["encryption_algorithm='AES_XTS'", /aws_key_management_encryption_algorithm/],
    ['encryption_algorithm=2', /aws_key_management_encryption_algorithm/],
    ['log_level=NULL', /aws_key_management_log_level/],
    ["log_level='Loud'", /aws_key_management_log_level/],
    ['rotate_key=NULL', /Incorrect argument type to variable 'aws_key_management_rotate_key'/],
    ['rotate_key=-2', /aws_key_management_rotate_key/],
    ['rotate_key=4294967296', /aws_key_management_rotate_key/],
    ["rotate_key='abc'", /aws_key_management_rotate_key/],
    ['rotate_key=99', /^AWS KMS plugin: key 99 does not exist; a key is created when the first table uses it/],
    ["region='x'", /read only/],
    ["endpoint_url='x'", /read only/],
    ["keyfile_dir='x'", /read only/],
    ["encryption_context='a=b'", /read only/],
    ["failover_regions='eu-west-1'", /read only/],
    ['mock=ON', /read only/],
    ["agent='x'", /read only/],
    ['start_timeout=1', /read only/],
    ['watch_interval=1', /read only/],
    ['request_timeout=1', /read only/],
    ['allow_missing_keys=ON', /read only/],
    ['sealed_key_cache=ON', /read only/],
  ];
  for (const [assignment, reason] of refused) {
    expect(await sqlError(server, `SET GLOBAL aws_key_management_${assignment}`), assignment).toMatch(reason);
  }
  expect(await sqlError(server, "SET SESSION aws_key_management_master_key_id='x'")).toMatch(/GLOBAL/);
  expect(await server.sql("SHOW GLOBAL VARIABLES LIKE 'aws_key_management%'")).toEqual(before);
});

it('SET applies valid values at once, also DEFAULT', async () => {
  const kms = await startKms({ aliases: ['alias/mariadb-encryption', 'alias/other'] });
  const server = await startServer(kms);
  await server.sql('CREATE DATABASE d');
  await server.sql(
    "SET GLOBAL aws_key_management_master_key_id='alias/other', GLOBAL aws_key_management_key_spec=AES_256, GLOBAL aws_key_management_log_level='Debug'",
  );
  await server.sql('CREATE TABLE d.a (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=8');
  expect(kms.calls.list().findLast(({ operation }) => operation === 'GenerateDataKeyWithoutPlaintext')?.keyId).toBe(
    kms.keyArns[1],
  );
  expect(server.log).toContain('loaded key 8, version 1, key length 256 bit');
  expect(server.log).toMatch(
    /AWS KMS GenerateDataKeyWithoutPlaintext: key 8 version 1 \(master key alias\/other\): succeeded/,
  );
  await server.sql('SET GLOBAL aws_key_management_master_key_id=DEFAULT, GLOBAL aws_key_management_rotate_key=DEFAULT');
  expect(await server.variable('VARIABLES', 'aws_key_management_master_key_id')).toBe('');
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=8')).toMatch(
    /^AWS KMS plugin: key 8 cannot be created: aws_key_management_master_key_id is empty; SET GLOBAL aws_key_management_master_key_id/,
  );
  await server.sql('INSERT INTO d.a VALUES (1)');
});

it('the server never crashes while many sessions set and read variables', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  const sessions = await Promise.all(Array.from({ length: 8 }, () => server.connect()));
  await Promise.all(
    sessions.map(async (session, n) => {
      for (let i = 0; i < 100; i += 1) {
        if (n % 2 === 0)
          await session.query(`SET GLOBAL aws_key_management_master_key_id='alias/${'x'.repeat((i * 7) % 200)}'`);
        else await session.query("SHOW GLOBAL VARIABLES LIKE 'aws_key_management%'");
        if (n === 1) await session.query("SHOW GLOBAL STATUS LIKE 'Aws_key_management%'");
        if (n === 2) await session.query(`SET GLOBAL aws_key_management_key_ids='1-${i + 1}'`);
      }
    }),
  );
  expect(server.isRunning).toBe(true);
});

it('the server ignores rotate_key at its start, with a warning', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_rotate_key: 1 });
  expect(server.log).toMatch(/\[Warning\] .*AWS KMS plugin: aws_key_management_rotate_key.*ignored/);
  expect(await server.variable('VARIABLES', 'aws_key_management_rotate_key')).toBe('0');
  expect(keyFiles(server.datadir).filter((file) => /\.2$/.test(file))).toEqual([]);
});

it.each([
  ['aws_key_management_key_ids', '1-', /aws_key_management_key_ids/],
  ['aws_key_management_master_key_id', 'a b', /aws_key_management_master_key_id/],
  ['aws_key_management_endpoint_url', 'ftp://x', /aws_key_management_endpoint_url: expected a URL such as/],
  ['aws_key_management_agent', 'relative/agent', /aws_key_management_agent: expected an absolute path/],
  ['aws_key_management_agent', '/nowhere/agent', /\/nowhere\/agent/],
  ['aws_key_management_agent', 'unix:/nowhere/sock', /\/nowhere\/sock/],
])('the server does not start with %s=%s and names the reason', async (variable, value, reason) => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { aws_key_management_start_timeout: 5, [variable]: value }));
  await expect(server.start()).rejects.toThrow(/Failed to initialize plugins/);
  expect(server.log).toMatch(new RegExp(`\\[ERROR\\] .*AWS KMS plugin: .*${reason.source}`));
});

it('a user without the privilege cannot rotate, and the attempt makes no KMS call', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await server.sql('CREATE USER u');
  await server.sql('CREATE DATABASE d');
  await server.sql('GRANT CREATE, INSERT, SELECT ON d.* TO u');
  kms.calls.clear();
  const session = await server.connect('u');
  await expect(session.query('SET GLOBAL aws_key_management_rotate_key=1')).rejects.toThrow(/Access denied/);
  expect(kms.calls.list()).toEqual([]);
});

it('SQL creates only the key ids that aws_key_management_key_ids allows, for every user', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_key_ids: '1-2,100-199' });
  await server.sql('CREATE USER u');
  await server.sql('CREATE DATABASE d');
  await server.sql('GRANT CREATE, INSERT, SELECT ON d.* TO u');
  const session = await server.connect('u');
  kms.calls.clear();
  await session.query('SET SESSION innodb_default_encryption_key_id=777');
  await expect(
    session.query('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=4294967295'),
  ).rejects.toThrow();
  expect(kms.calls.list()).toEqual([]);
  expect(server.log).toMatch(
    /\[ERROR\] .*AWS KMS plugin: key 777 is not among the key ids that aws_key_management_key_ids allows/,
  );
  await session.query('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=150');
  expect(operations(kms)).toEqual(['GenerateDataKeyWithoutPlaintext', 'Decrypt']);
  await server.sql("SET GLOBAL aws_key_management_key_ids='777'");
  await session.query('CREATE TABLE d.u (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=777');
});
