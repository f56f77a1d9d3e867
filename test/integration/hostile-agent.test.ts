import { chmodSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { childrenOf } from '../../harness/children.ts';
import { AGENT, type ScratchServer } from '../../harness/scratch-server.ts';
import { systemErrorCode } from '../../src/errors.ts';
import { sqlError, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const ROTATE = 'SET GLOBAL aws_key_management_rotate_key=1';

const ANOTHER_ID = 'key of another id';

const WAYS: readonly (readonly [string, RegExp])[] = [
  ['garbage', /the agent broke the protocol: length of a frame out of range/],
  ['half a frame', /the agent ended/],
  ['wrong request', /the agent broke the protocol: DONE answers nothing that was asked/],
  ['key id 0', /the agent broke the protocol: KEY 0 version \d+: there is no such key/],
  ['key of 15 bytes', /the agent broke the protocol: key 1 version \d+: expected 16, 24 or 32 bytes, got 15/],
  ['key of no algorithm', /the agent broke the protocol: malformed KEY/],
  [
    'other bytes for a key',
    /key 1 version 1: the file aws-kms-key\.1\.1 in \S+ is not the key that the server has in memory/,
  ],
  ['closes at once', /the agent ended \(exit status 0\)/],
  ['dies after HELLO', /the agent ended \(exit status 9\)/],
  // The last one: a key that the server was given stays, and no directory has its file.
  [ANOTHER_ID, /the agent broke the protocol: DONE \(1, \d+\) does not match the keys/],
];

function zombiesOf(server: ScratchServer): number {
  return childrenOf(server.pid).filter((pid) => readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ')).length;
}

/** Counts sockets only, because a leak would be one of the agent's connection; open files vary with the tables. */
function socketsOf(server: ScratchServer): number {
  const directory = `/proc/${server.pid}/fd`;
  return readdirSync(directory).filter((fd) => linkOf(join(directory, fd)).startsWith('socket:')).length;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** The process may have ended by itself. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error;
  }
}

it('a server with a hostile agent goes on writing, logs each fault once, and leaves nothing behind', async () => {
  const directory = scratchDirectory();
  const way = join(directory, 'way');
  const agent = join(directory, 'agent');
  const program = join(import.meta.dirname, '../support/hostile-agent.ts');
  writeFileSync(agent, `#!/bin/sh\nexec '${process.execPath}' '${program}' '${AGENT}' '${way}' "$@"\n`);
  chmodSync(agent, 0o755);
  writeFileSync(way, 'honest');
  const server = await startServer(await startKms(), {
    aws_key_management_agent: agent,
    innodb_encrypt_tables: 'ON',
    aws_key_management_start_timeout: 60,
  });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, t CHAR(200)) ENGINE=InnoDB ENCRYPTED=YES');
  const writer = await server.connect();
  let stop = false;
  let rows = 0;
  const writing = (async () => {
    for (; !stop; rows += 1) await writer.query("INSERT INTO d.t (t) VALUES (REPEAT('x', 200))");
  })();
  await server.sql(ROTATE);
  const sockets = socketsOf(server);
  for (const [name, reason] of WAYS) {
    await until('the agent of the way before has gone', async () => {
      for (const pid of childrenOf(server.pid)) killIfThere(pid);
      return (await server.variable('STATUS', 'Aws_key_management_agent_state')) !== 'running';
    });
    writeFileSync(way, name);
    const logged = server.log.length;
    const before = rows;
    const startedMs = performance.now();
    expect(await sqlError(server, ROTATE), name).toMatch(reason);
    expect(performance.now() - startedMs, name).toBeLessThan(30_000);
    await until(`some more rows are written after ${name}`, () => rows > before + 20, 60);
    expect(zombiesOf(server), name).toBe(0);
    // The rotation has a line and the agent has one; the pages that are written have none.
    const lines = server.log.slice(logged).match(/\[(?:ERROR|Warning)\] .*AWS KMS plugin: .*/g) ?? [];
    const ofRotation = lines.filter((line) => line.includes(': rotation of key 1: '));
    expect(ofRotation.length, `${name}: ${lines.join('\n')}`).toBeLessThanOrEqual(1);
    expect(lines.length - ofRotation.length, `${name}: ${lines.join('\n')}`).toBeLessThanOrEqual(1);
    writeFileSync(way, 'honest');
    // Some of these faults do not end the connection.
    for (const pid of childrenOf(server.pid)) killIfThere(pid);
    if (name === ANOTHER_ID) break;
    await until('the next rotation works', async () => {
      return await server.sql(ROTATE).then(
        () => true,
        () => false,
      );
    });
  }
  await until('the next rotation is refused for the key without a file', async () =>
    /aws-kms-key\.77\.\d+ is not in \S+ any more/.test(await sqlError(server, ROTATE)),
  );
  // A client's closed connection remains for a moment.
  await until('no socket is left over', () => socketsOf(server) <= sockets);
  stop = true;
  await writing;
  expect(await server.sql('SELECT COUNT(*) AS n FROM d.t')).toEqual([{ n: rows }]);
  await server.restart();
  expect(await server.sql('SELECT COUNT(*) AS n FROM d.t')).toEqual([{ n: rows }]);
}, 300_000);
