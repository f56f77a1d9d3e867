/** Attacks by a user who may create tables in one database: on the server's keys, and on its KMS costs. */
import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection, SqlError } from 'mariadb';
import { expect, it } from 'vitest';
import type { ScratchServer } from '../../harness/scratch-server.ts';
import { TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { keyFiles, operations, startKms, startServer } from '../support/lab.ts';

/**
 * The burst of new keys that SQL may request, after which one each second follows (plugin/client/bucket.h). A request
 * waits up to 5 s for its turn; the requests of several sessions wait at the same time.
 */
const AT_ONCE = 100;
const SESSIONS = 20;

/** Runs one session after the other through its share of the ids, all sessions at the same time. */
async function inSessions(
  server: ScratchServer,
  ids: readonly number[],
  run: (session: Connection, id: number) => Promise<void>,
): Promise<void> {
  const left = [...ids];
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => server.connect('guest')));
  await Promise.all(
    sessions.map(async (session) => {
      for (let id = left.shift(); id !== undefined; id = left.shift()) await run(session, id);
    }),
  );
}

async function guest(server: ScratchServer): Promise<Connection> {
  await server.sql('CREATE DATABASE d');
  await server.sql("CREATE USER guest@localhost IDENTIFIED BY ''");
  await server.sql('GRANT SELECT, INSERT, CREATE, DROP ON d.* TO guest@localhost');
  return await server.connect('guest');
}

/** The error and the warnings of a statement; empty when it succeeds. */
async function complaints(connection: Connection, statement: string): Promise<string> {
  const error = await connection.query(statement).then(
    () => '',
    (thrown: SqlError) => thrown.sqlMessage ?? thrown.message,
  );
  return error === '' ? '' : `${error}\n${JSON.stringify(await connection.query('SHOW WARNINGS'))}`;
}

function createTable(id: number): string {
  return `CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`;
}

/** Tells whether the tables of a database were read: the data directory is searched for a key that has no file yet. */
function lookout(folder: string): () => boolean {
  const table = join(folder, 'lookout.ibd');
  writeFileSync(table, Buffer.alloc(65_536));
  utimesSync(table, 1, 2);
  return () => statSync(table).atimeMs !== 1000;
}

it('SQL creates no key outside key_ids, and its attempts cost neither KMS calls nor searches of the tables', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_key_ids: '1-2,10-12' });
  const user = await guest(server);
  const files = keyFiles(server.datadir);
  const wasLookedAt = lookout(join(server.datadir, 'd'));
  kms.calls.clear();
  for (let id = 100; id < 400; id += 1) expect(await complaints(user, createTable(id))).not.toBe('');
  await user.query('SET innodb_default_encryption_key_id=401');
  expect(await complaints(user, 'CREATE TABLE d.t401 (i INT) ENGINE=InnoDB ENCRYPTED=YES')).not.toBe('');
  expect(keyFiles(server.datadir)).toEqual(files);
  expect(operations(kms)).toEqual([]);
  expect(wasLookedAt()).toBe(false);
  // The refused requests have not used up the allowance of others.
  await user.query(createTable(10));
  expect(operations(kms)).toEqual(['GenerateDataKeyWithoutPlaintext', 'Decrypt']);
  expect(wasLookedAt(), 'a file system without access times shows no look').toBe(true);
  expect(await server.variable('STATUS', 'Aws_key_management_last_error')).toBe('');
  // The message is logged now and then with a count, not for each key.
  expect(server.log.match(/AWS KMS plugin: key \d+ is not among the key ids/g)?.length).toBeLessThanOrEqual(40);
});

it('SQL that names many keys causes a limited number of KMS calls, while rotations and loaded keys go on', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  const user = await guest(server);
  kms.calls.clear();
  const startedMs = performance.now();
  let created = 0;
  const wanted = Array.from({ length: 160 }, (_, n) => 1000 + n);
  await inSessions(server, wanted, async (session, id) => {
    if ((await complaints(session, createTable(id))) === '') created += 1;
  });
  expect(created).toBeLessThan(wanted.length);
  expect(await server.variable('STATUS', 'Aws_key_management_last_error')).toMatch(
    /^key \d+ is not loaded and was not asked for: SQL statements name too many keys/,
  );
  const most = AT_ONCE + 1 + Math.floor((performance.now() - startedMs) / 1000);
  expect(created).toBeGreaterThanOrEqual(AT_ONCE - 5);
  expect(created).toBeLessThanOrEqual(most);
  expect(operations(kms).length).toBe(2 * created);
  const told = server.log.match(/AWS KMS plugin: key \d+ is not loaded and was not asked for: .*/g) ?? [];
  expect(told[0]).toMatch(/SQL statements name too many keys that the server does not have; .*key_ids limits/);
  expect(told.length).toBeLessThanOrEqual(1 + Math.floor((performance.now() - startedMs) / 10_000));
  await user.query('INSERT INTO d.t1000 VALUES (1)');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1000');
  expect(await server.variable('STATUS', 'Aws_key_management_key_1000_latest_version')).toBe('2');
  // Every key is loaded at the start, however many there are.
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t1000')).toEqual([{ i: 1 }]);
  expect(await server.variable('STATUS', 'Aws_key_management_keys_loaded')).toBe(
    String(keyFiles(server.datadir).filter((file) => /^aws-kms-key\.\d+\.1$/.test(file)).length),
  );
});

it('SQL causes a limited number of KMS calls while KMS refuses', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await guest(server);
  kms.calls.clear();
  kms.faults.set([{ kind: 'error', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  const startedMs = performance.now();
  // The same few keys repeatedly, as pages would request them, and many others.
  const wanted = Array.from({ length: 60 }, (_, round) => [7, 8, 1000 + round, 2000 + round]).flat();
  await inSessions(server, wanted, async (session, id) => {
    expect(await complaints(session, createTable(id))).not.toBe('');
  });
  const seconds = (performance.now() - startedMs) / 1000;
  expect(operations(kms).length).toBeGreaterThan(50);
  expect(operations(kms).length).toBeLessThanOrEqual(AT_ONCE + 1 + seconds);
});

it('SQL without privileges changes no variable of the plugin and reads no secret from it', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_log_level: 'Trace' });
  const user = await guest(server);
  await user.query(createTable(3));
  const errors: string[] = [];
  for (const [name, value] of [
    ['rotate_key', '3'],
    ['master_key_id', "'alias/mine'"],
    ['key_ids', "''"],
    ['key_spec', "'AES_256'"],
    ['log_level', "'Off'"],
  ]) {
    errors.push(await complaints(user, `SET GLOBAL aws_key_management_${name}=${value}`));
    expect(errors.at(-1)).toMatch(/Access denied/);
  }
  kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-plaintext-length', bytes: 17 }]);
  errors.push(await complaints(user, createTable(4)));
  const shown = [...errors];
  for (const statement of [
    "SHOW GLOBAL VARIABLES LIKE 'aws%'",
    "SHOW GLOBAL STATUS LIKE 'aws%'",
    "SELECT * FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME LIKE 'aws%'",
    "SELECT * FROM information_schema.PLUGINS WHERE PLUGIN_NAME LIKE 'aws%'",
    'SHOW CREATE TABLE d.t3',
  ])
    shown.push(JSON.stringify(await user.query(statement)));
  const all = shown.join('\n');
  // A control: the user does see values that are no secrets.
  expect(all).toContain('alias/mariadb-encryption');
  expect(all).toContain('Aws_key_management_key_3_latest_version');
  expect(all).not.toContain(TEST_ACCESS_KEY.secretAccessKey);
  expect(all).not.toContain(TEST_ACCESS_KEY.accessKeyId);
  for (const id of [1, 3]) {
    const ciphertextBlob = readFileSync(join(server.datadir, `aws-kms-key.${id}.1`));
    const key = Buffer.from(kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext);
    expect(Buffer.from(all, 'latin1').includes(key)).toBe(false);
    for (const encoding of ['hex', 'base64'] as const)
      expect(all.toLowerCase()).not.toContain(key.toString(encoding).toLowerCase());
  }
});

it('a user without privileges learns the key of a failure, but no account, role or path', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  const user = await guest(server);
  await user.query(createTable(7));
  const seen = async (connection: Connection): Promise<string> => {
    const texts = [
      await connection.query("SHOW GLOBAL STATUS LIKE 'Aws_key_management_last_error'"),
      await connection.query(
        "SELECT VARIABLE_VALUE AS Value FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Aws_key_management_last_error'",
      ),
    ].map(([row]: { Value: string }[]) => row?.Value ?? '');
    expect(texts[0]).toBe(texts[1]);
    return texts[0] ?? '';
  };
  expect(await seen(user)).toBe('');
  const message = 'User: arn:aws:iam::111122223333:role/secret-role is not authorized';
  kms.faults.set([{ operation: '*', kind: 'error', name: 'AccessDeniedException', status: 400, message }]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=7').catch(() => undefined);
  const whole = await server.variable('STATUS', 'Aws_key_management_last_error');
  expect(whole).toMatch(/^key 7 version 2 .*AccessDeniedException: User: arn:aws:iam::111122223333:role\/secret-role/);
  expect(await seen(user)).toBe('key 7 version 2: the text is shown with the PROCESS privilege, and in the error log');
  await server.sql('GRANT PROCESS ON *.* TO guest@localhost');
  expect(await seen(await server.connect('guest'))).toBe(whole);
});
