import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions } from '../../harness/scratch-server.ts';
import { HELD, HeldCalls } from '../support/held-calls.ts';
import { keyFiles, newServer, sqlError, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

async function latest(server: Awaited<ReturnType<typeof startServer>>, id: number): Promise<string | undefined> {
  return await server.variable('STATUS', `Aws_key_management_key_${id}_latest_version`);
}

it('a rotation of one key is visible at once, and the variable reads back 0', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  expect(await latest(server, 1)).toBe('2');
  expect(await server.variable('VARIABLES', 'aws_key_management_rotate_key')).toBe('0');
  expect(await server.variable('STATUS', 'Aws_key_management_rotations')).toBe('1');
  expect(server.log).toContain('AWS KMS plugin: generated encrypted datakey for key id=1, version=2');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=0');
  expect(await latest(server, 1)).toBe('2');
});

it("a failed rotation is an SQL error with KMS's message and a line of the error log, and changes nothing", async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  const files = readdirSync(server.datadir).sort();
  const arn = kms.keyArns[0] ?? '';

  kms.kms.call('us-east-1', { accessKeyId: '', denied: [] }, 'DisableKey', { KeyId: arn });
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3')).toMatch(
    /^AWS KMS plugin: key 3 version 2 \(master key alias\/mariadb-encryption\): KMS GenerateDataKeyWithoutPlaintext failed: DisabledException: arn:aws:kms:\S+ is disabled\. \(request [0-9a-f-]{36}\); the master key is disabled: `aws kms enable-key/,
  );
  expect(
    server.log.match(/ \[ERROR\] \S+ AWS KMS plugin: rotation of key 3: key 3 version 2 .*DisabledException: arn/g),
  ).toHaveLength(1);
  expect(await server.variable('STATUS', 'Aws_key_management_last_error')).toContain('DisabledException');
  for (let i = 0; i < 3; i += 1)
    expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=99')).toContain('key 99 does not exist');
  expect(server.log.match(/ \[ERROR\] \S+ AWS KMS plugin: rotation of key 99: key 99 does not exist/g)).toHaveLength(1);
  expect(await server.variable('STATUS', 'Aws_key_management_last_error_time')).toMatch(/^20\d\d-\d\d-\d\dT[\d:]+Z$/);
  kms.kms.call('us-east-1', { accessKeyId: '', denied: [] }, 'EnableKey', { KeyId: arn });

  // Generate works, Decrypt does not: the original plugin then had a latest version that nobody could decrypt.
  kms.faults.set([{ operation: 'Decrypt', kind: 'error', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3')).toMatch(
    /KMS Decrypt failed: AccessDeniedException: no/,
  );
  kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-plaintext-length', bytes: 17 }]);
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3')).toContain(
    'KMS in us-east-1 answered wrongly: "data key" expected 16, 24 or 32 bytes, got 17',
  );
  kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-key-id' }]);
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3')).toMatch(/"KeyId" expected arn:/);
  kms.faults.clear();

  expect(readdirSync(server.datadir).sort()).toEqual(files);
  expect(await latest(server, 3)).toBe('1');
  await server.sql('INSERT INTO d.t VALUES (1)');
  await server.restart();
  expect(await latest(server, 3)).toBe('1');
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 1 }]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  expect(await latest(server, 3)).toBe('2');
});

it('a rotation in one statement with DEFAULT for the master key reports that it used the old one', async () => {
  const server = await startServer(await startKms());
  await server.sql('SET GLOBAL aws_key_management_master_key_id=DEFAULT, GLOBAL aws_key_management_rotate_key=1');
  expect(await latest(server, 1)).toBe('2');
  expect(server.log).toContain(
    'aws_key_management_master_key_id: the rotation in the same statement did not use the new value',
  );
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=1')).toMatch(/master_key_id is empty/);
});

it('a rotation of all keys tries every key, reports each failure, and fails the statement', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await server.sql('CREATE DATABASE d');
  for (const id of [2, 3, 4])
    await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
  kms.faults.set([
    {
      operation: 'GenerateDataKeyWithoutPlaintext',
      kind: 'error',
      name: 'AccessDeniedException',
      status: 400,
      message: 'no',
      skip: 1,
      count: 2,
    },
  ]);
  const error = await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=-1');
  expect(error).toMatch(
    /^AWS KMS plugin: rotated 2 of 4 keys; key \d version 2 .*AccessDeniedException: no.*; not rotated: \d, \d/,
  );
  expect(
    server.log.match(/\[ERROR\] .*AWS KMS plugin: keys \d(?:-| and )\d version 2 .*AccessDeniedException: no/g),
  ).toHaveLength(1);
  expect(server.log).toMatch(
    / \[ERROR\] \S+ AWS KMS plugin: rotation of all keys: rotated 2 of 4 keys; key \d version 2 /,
  );
  const versions = await Promise.all([1, 2, 3, 4].map((id) => latest(server, id)));
  expect([...versions].sort()).toEqual(['1', '1', '2', '2']);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect([...(await Promise.all([1, 2, 3, 4].map((id) => latest(server, id))))].sort()).toEqual(['2', '2', '3', '3']);
});

it('a rotation that waits for KMS delays no other session', async () => {
  const held = new HeldCalls();
  const kms = await startKms({ clock: held });
  // Longer than the statements of the other session take.
  const server = await startServer(kms, { aws_key_management_request_timeout: 30_000 });
  const [rotating, other] = [await server.connect(), await server.connect()];
  kms.faults.set([HELD]);
  let hasEnded = false;
  const rotation = rotating.query('SET GLOBAL aws_key_management_rotate_key=1').finally(() => {
    hasEnded = true;
  });
  await until('KMS is asked', () => held.calls === 1);
  for (let i = 0; i < 20; i += 1) {
    await other.query("SHOW GLOBAL VARIABLES LIKE 'aws_key_management%'");
    await other.query(`SET GLOBAL max_connections=${151 + i}`);
    await other.query("SHOW GLOBAL STATUS LIKE 'Aws_key_management%'");
  }
  // The rotation still waits for KMS.
  expect(hasEnded).toBe(false);
  expect(held.calls).toBe(1);
  kms.faults.clear();
  held.letGo();
  await rotation;
  expect(await latest(server, 1)).toBe('2');
});

it('rotations by two servers on one directory lose no version, and both servers have all after a restart', async () => {
  const kms = await startKms();
  const keys = scratchDirectory();
  const options = pluginOptions(kms.url, { aws_key_management_keyfile_dir: keys });
  const servers = [newServer(options), newServer(options)];
  await Promise.all(servers.map((server) => server.start()));
  const rounds = await Promise.all(
    servers.map(async (server) => {
      const session = await server.connect();
      for (let i = 0; i < 10; i += 1) await session.query('SET GLOBAL aws_key_management_rotate_key=1');
    }),
  );
  expect(rounds).toHaveLength(2);
  const wrapped = keyFiles(keys).filter((file) => /^aws-kms-key\.1\.\d+$/.test(file));
  expect(wrapped).toHaveLength(21);
  expect(new Set(wrapped.map((file) => readFileSync(join(keys, file), 'hex')))).toHaveLength(21);
  await Promise.all(servers.map((server) => server.restart()));
  for (const server of servers) expect(await latest(server, 1)).toBe('21');
});
