/** The connection of the verbs that work through a running server. */
import { expect, it } from 'vitest';
import { connectServer } from '../../src/sql/connect.ts';
import type { SqlTarget } from '../../src/sql/server.ts';
import { expectKeyError } from '../support/expect-error.ts';
import { newServer } from '../support/lab.ts';
import { until } from '../support/scratch.ts';

const NEVER = new AbortController().signal;

it('a verb reads rows of a running server, and its failures name the server, the privilege and the cure', async () => {
  const server = newServer({});
  const target: SqlTarget = {
    place: { socket: server.socket },
    user: 'root',
    password: '',
    certificates: undefined,
  };
  const unreachable = /^the server does not answer: root@localhost via \/\S+sock \(ENOENT\)$/;
  await expectKeyError(connectServer(target, NEVER), 'SERVER_UNREACHABLE', unreachable);
  await server.start();

  const sql = await connectServer(target, NEVER);
  expect(sql.name).toBe(`root@localhost via ${server.socket}`);
  expect(
    await sql.query("SELECT ? AS t, 1 AS i, 9007199254740993 AS big, NULL AS n, 1.5 AS d, b'1' AS b", ["it's"], NEVER),
  ).toEqual([{ t: "it's", i: 1, big: 9007199254740993n, n: null, d: '1.5', b: '\u0001' }]);
  expect(await sql.query('SET @x = 1', [], NEVER)).toEqual([]);
  await expectKeyError(sql.query('SELECT nonsense', [], NEVER), 'SQL_FAILED', /nonsense.*\(1054, 42S22\)$/);
  await sql.query("CREATE USER little@localhost IDENTIFIED BY 'pass word'", [], NEVER);

  const stranger = { ...target, user: 'little', password: 'wrong' };
  await expectKeyError(connectServer(stranger, NEVER), 'SERVER_REFUSED', /Access denied for user 'little'.*\(1045\)$/);
  const little = await connectServer({ ...stranger, password: 'pass word' }, NEVER);
  const refused = await expectKeyError(
    little.query('SELECT * FROM information_schema.INNODB_TABLESPACES_ENCRYPTION', [], NEVER),
    'SERVER_REFUSED',
    /^the server refused 'little'@'localhost': Access denied; you need .* PROCESS .*\(1227\)$/,
  );
  await little.close();
  // The cure is executed as it is printed; it holds from the next login on.
  await sql.query(refused.hint.replace('as an administrator of the server: ', ''), [], NEVER);
  const trusted = await connectServer({ ...stranger, password: 'pass word' }, NEVER);
  expect(await trusted.query('SELECT * FROM information_schema.INNODB_TABLESPACES_ENCRYPTION', [], NEVER)).toEqual(
    expect.any(Array),
  );
  await trusted.close();

  const impatient = new AbortController();
  const sleeping = sql.query('SELECT SLEEP(60)', [], impatient.signal);
  const watcher = await connectServer(target, NEVER);
  const sleepers = async () =>
    await watcher.query("SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO='SELECT SLEEP(60)'", [], NEVER);
  await until('it sleeps', async () => (await sleepers()).length === 1);
  impatient.abort(new Error('enough'));
  await expect(sleeping).rejects.toThrow('enough');
  await until('the server ended it', async () => (await sleepers()).length === 0);

  await server.stop();
  await expectKeyError(
    watcher.query('SELECT 1', [], NEVER),
    'SERVER_UNREACHABLE',
    /^the server ended the connection: /,
  );
  await watcher.close();
  await sql.close();
});
