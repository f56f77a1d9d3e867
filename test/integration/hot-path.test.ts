import { expect, it } from 'vitest';
import type { ScratchServer } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { HELD, HeldCalls } from '../support/held-calls.ts';
import { operations, startKms, startServer } from '../support/lab.ts';
import { compile, pluginDirectoryWith } from '../support/native.ts';
import { until } from '../support/scratch.ts';

const INVALID = '4294967295';
const BUFFER_TOO_SMALL = '100';

async function probedServer(
  kms: DevKms,
): Promise<{ server: ScratchServer; probe: (...args: (string | number)[]) => Promise<string> }> {
  const server = await startServer(kms, { plugin_dir: pluginDirectoryWith(compile('encryption_probe', 'library')) });
  await server.sql("CREATE FUNCTION encryption_probe RETURNS STRING SONAME 'encryption_probe.so'");
  const probe = async (...args: (string | number)[]): Promise<string> => {
    const [row] = await server.sql(
      `SELECT encryption_probe(${args.map((arg) => JSON.stringify(arg)).join(', ')}) AS r`,
    );
    return String(row?.['r']);
  };
  return { server, probe };
}

it('get_key fulfils the whole contract of the encryption interface', async () => {
  const kms = await startKms();
  const { server, probe } = await probedServer(kms);
  expect(await probe('latest', 1, 0, 0)).toBe('1');
  expect(await probe('get', 1, 1, 16)).toBe('0 / 16');
  expect(await probe('get', 1, 1, 32)).toBe('0 / 16');
  expect(await probe('get', 1, 1, 15)).toBe(`${BUFFER_TOO_SMALL} / 16`);
  expect(await probe('get', 1, 1, 0)).toBe(`${BUFFER_TOO_SMALL} / 16`);
  expect(await probe('get', 1, 1, -1)).toBe(`${BUFFER_TOO_SMALL} / 16`);
  expect(await probe('exists', 1, 1, 0)).toBe(`${BUFFER_TOO_SMALL} / 16`);
  await server.sql('SET GLOBAL aws_key_management_key_spec=AES_256');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  expect(await probe('latest', 1, 0, 0)).toBe('2');
  expect(await probe('get', 1, 2, 16)).toBe(`${BUFFER_TOO_SMALL} / 32`);
  expect(await probe('get', 1, 2, 32)).toBe('0 / 32');
  expect(await probe('get', 1, 1, 16)).toBe('0 / 16');
});

it('a missing version is refused without a KMS call or a change of any latest version', async () => {
  const kms = await startKms();
  const { probe } = await probedServer(kms);
  kms.calls.clear();
  for (const version of [0, 2, 77, 4_294_967_294, 4_294_967_295]) {
    expect((await probe('get', 1, version, 32)).split(' ')[0], `version ${version}`).toBe(INVALID);
    expect((await probe('exists', 1, version, 0)).split(' ')[0], `version ${version}`).toBe(INVALID);
  }
  expect(await probe('latest', 0, 0, 0)).toBe(INVALID);
  expect(kms.calls.list()).toEqual([]);
  expect(await probe('latest', 1, 0, 0)).toBe('1');
});

it('a loaded key is returned without a system call, from several threads, also during its rotation', async () => {
  const kms = await startKms();
  const { server, probe } = await probedServer(kms);
  await probe('latest', 1, 0, 0);
  const rotations = (async () => {
    for (let i = 0; i < 10; i += 1) await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  })();
  expect(await probe('quiet', 1, 3_000_000, 4)).toBe('4');
  await rotations;
  expect(server.isRunning).toBe(true);
  expect(await probe('latest', 1, 0, 0)).toBe('11');
});

it('a control shows a system call: an unknown key makes the plugin call the agent', async () => {
  const kms = await startKms();
  const { probe } = await probedServer(kms);
  expect(await probe('quiet', 99, 1, 1)).toBe('0');
});

it('sessions that request the same new key at once create it once', async () => {
  const kms = await startKms();
  const { server } = await probedServer(kms);
  kms.faults.set([{ kind: 'latency', ms: 300 }]);
  kms.calls.clear();
  const sessions = await Promise.all(Array.from({ length: 12 }, () => server.connect()));
  const answers: unknown[] = await Promise.all(
    sessions.map((session) => session.query("SELECT CAST(encryption_probe('latest', 50, 0, 0) AS CHAR) AS v")),
  );
  expect(answers).toEqual(Array.from({ length: 12 }, () => expect.arrayContaining([{ v: '1' }])));
  expect(operations(kms)).toEqual(['GenerateDataKeyWithoutPlaintext', 'Decrypt']);
});

it('sessions with loaded keys write without a stall while KMS hangs for another session', async () => {
  const held = new HeldCalls();
  const kms = await startKms({ clock: held });
  const { server } = await probedServer(kms);
  await server.sql('CREATE DATABASE d');
  await server.sql(
    'CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, t CHAR(200)) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=1',
  );
  kms.faults.set([HELD]);
  const [creator, rotator, writer] = await Promise.all([server.connect(), server.connect(), server.connect()]);
  let ended = 0;
  const pending = [
    creator.query('CREATE TABLE d.u (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=60'),
    rotator.query('SET GLOBAL aws_key_management_rotate_key=1'),
  ].map((statement) =>
    statement.finally(() => {
      ended += 1;
    }),
  );
  await until('KMS is asked for both', () => held.calls === 2);
  for (let i = 0; i < 200; i += 1) await writer.query("INSERT INTO d.t (t) VALUES (REPEAT('x', 200))");
  // A stall would last until KMS answers, or is given up.
  expect(ended).toBe(0);
  kms.faults.clear();
  held.letGo();
  await Promise.all(pending);
});
