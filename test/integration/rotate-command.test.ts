/** `rotate` on real servers: to the end, and what it says where there is none. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { ScratchServer } from '../../harness/scratch-server.ts';
import { rotateCommand } from '../../src/cli/rotate.ts';
import { systemSurroundings } from '../../src/cli/system-surroundings.ts';
import { toKeyError } from '../../src/errors.ts';
import { startKms, startServer } from '../support/lab.ts';
import { recordedIo } from '../support/recorded-io.ts';

const LEAST = 'operator';
const YEAR_MS = 365 * 86_400_000;

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param laterMs the time by which the clock is ahead */
async function rotate(server: ScratchServer, args: string, { user = LEAST, laterMs = 0 } = {}): Promise<Ended> {
  const { io, printed } = recordedIo();
  const real = systemSurroundings();
  const clock = { ...real.clock, wallMs: () => real.clock.wallMs() + laterMs };
  const flags = ['--no-defaults', '--socket', server.socket, '--user', user, '--keyfile-dir', server.datadir].concat(
    '--audit-log',
    join(server.directory, 'audit.log'),
  );
  const command = rotateCommand(io, () => ({ ...real, clock })).exitOverride();
  try {
    await command.parseAsync(['node', 'rotate', ...flags, ...args.split(' ')]);
  } catch (thrown) {
    const { code, message, hint } = toKeyError(thrown);
    return { status: 1, stdout: printed.stdout, stderr: `${code}: ${message}\n${hint}\n` };
  }
  return { ...printed, stdout: printed.stdout.replace(server.socket, 'SOCKET') };
}

async function startWithTable(options: Record<string, string | number>): Promise<ScratchServer> {
  const server = await startServer(await startKms(), options);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.`t-1` (i INT PRIMARY KEY) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql(
    'INSERT INTO d.`t-1` SELECT seq FROM (WITH RECURSIVE s AS (SELECT 1 seq UNION ALL SELECT seq + 1 FROM s WHERE seq < 900) SELECT seq FROM s) x',
  );
  await server.sql(`CREATE USER ${LEAST}@localhost`);
  await server.sql(`GRANT SUPER, PROCESS ON *.* TO ${LEAST}@localhost`);
  return server;
}

async function versionsOf(server: ScratchServer): Promise<unknown> {
  return await server.sql(
    "SELECT MIN_KEY_VERSION AS min, CURRENT_KEY_VERSION AS latest FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME LIKE 'd/t%'",
  );
}

it('rotate says what the server will do, waits until the disk agrees, and rotates old keys once', async () => {
  const server = await startWithTable({ innodb_encrypt_tables: 'ON', innodb_encryption_threads: 2 });
  expect(await rotate(server, '--key-id 3 --wait --dry-run')).toEqual({
    status: 0,
    stderr: '',
    stdout: `server: operator@localhost via SOCKET
would rotate: key 3
- what is written from now on is under the new versions
- 2 encryption threads move data that is more than 1 version behind (innodb_encryption_rotate_key_age = 1); the rest stays until the next rotation
- the redo log, binary and relay logs and Aria tables keep their versions: mariadb-aws-kms audit shows what still needs each
`,
  });
  expect(await versionsOf(server)).toEqual([{ min: 1, latest: 1 }]);

  const first = await rotate(server, '--key-id 3 --wait');
  expect(first, first.stderr).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/key 3: version 1 to 2\nnothing to wait for: .* before the next rotation\n$/),
  });
  const second = await rotate(server, '--key-id 3 --wait');
  expect(second, second.stderr).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(
      /key 3: version 2 to 3\nno data is left under key 3 version 1 or less\nthe disk agrees: no page in use is under these versions\n$/,
    ),
  });
  expect(await versionsOf(server)).toEqual([{ min: 3, latest: 3 }]);

  expect(await rotate(server, '--older-than 90d')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^server: .*\nyoung enough: key 1, key 3\nrotating: nothing\n/),
  });
  expect(await rotate(server, '--older-than 90d --quiet', { laterMs: YEAR_MS })).toMatchObject({
    status: 0,
    stdout: '',
  });
  expect(await versionsOf(server)).toEqual([{ min: 3, latest: 4 }]);
  rmSync(join(server.datadir, 'aws-kms-key.3.4.json'));
  expect(await rotate(server, '--older-than 90d')).toMatchObject({
    status: 3,
    stderr: expect.stringMatching(
      /error: the age of key 3 version 4 is not known: it has no sidecar\nhint: rotate it .*: rotate --key-id 3, or all keys: rotate --all\n$/,
    ),
  });
  expect(await versionsOf(server)).toEqual([{ min: 3, latest: 4 }]);

  await server.sql('SET GLOBAL innodb_encryption_threads = 0');
  expect(await rotate(server, '--all --wait')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('error: the re-encryption would not end: innodb_encryption_threads is 0'),
  });
  expect(await versionsOf(server)).toEqual([{ min: 3, latest: 4 }]);
  expect(await rotate(server, '--all')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(
      /- older data stays as it is: .*threads is 0.*\n[\s\S]*key 1: version 2 to 3\nkey 3: version 4 to 5\n$/,
    ),
  });

  expect(await rotate(server, '--key-id 99 --json')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('KEY_UNKNOWN: key 99 does not exist; the keys of this server are 1, 3\n'),
  });
  await server.sql('CREATE USER nobody@localhost');
  expect(await rotate(server, '--all', { user: 'nobody' })).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^SERVER_REFUSED: .*PROCESS.*\n.*GRANT PROCESS ON \*\.\* TO 'nobody'@'localhost'\n$/),
  });
  await server.sql('GRANT PROCESS ON *.* TO nobody@localhost');
  expect(await rotate(server, '--all', { user: 'nobody' })).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/SUPER[\s\S]*GRANT SUPER ON \*\.\* TO 'nobody'@'localhost'\n$/),
  });
  await server.stop();
  expect(await rotate(server, '--all')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^SERVER_UNREACHABLE: /),
  });
});

it('rotate refuses to wait for tables that the server never visits, and --rebuild moves them', async () => {
  const server = await startWithTable({ innodb_encrypt_tables: 'OFF', innodb_encryption_threads: 2 });
  expect(await rotate(server, '--all --wait')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/innodb_encrypt_tables is OFF, .* ENCRYPTED=YES: d\.t-1\nhint: add --rebuild/),
  });
  expect(await versionsOf(server)).toEqual([{ min: 1, latest: 1 }]);
  // Without the privilege for the table a version is made, and the table stays as it was.
  const refused = await rotate(server, '--all --wait --rebuild');
  expect(refused).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/error: d\.t-1 is as it was: .*ALTER[\s\S]*GRANT .*ALTER.* ON `d`\.`t-1` TO/),
  });
  await server.sql(`GRANT ALTER, CREATE, INSERT ON d.* TO ${LEAST}@localhost`);
  const ended = await rotate(server, '--wait-only --rebuild --json');
  expect(ended.status, ended.stdout).toBe(0);
  expect(JSON.parse(ended.stdout)).toMatchObject({
    ok: true,
    rotated: [],
    rebuilt: ['d.t-1'],
    retired: expect.arrayContaining([{ keyId: 3, keyVersion: 1 }]),
    disk: 'agrees',
    problems: [],
  });
  expect(await versionsOf(server)).toEqual([{ min: 2, latest: 2 }]);
  expect(await server.sql('SELECT COUNT(*) AS n FROM d.`t-1`')).toEqual([{ n: 900 }]);
});
