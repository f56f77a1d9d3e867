/** Point-in-time recovery from encrypted binary logs, without the server that wrote them. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, type ScratchServer, serverTool } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { EVENT_LENGTH } from '../../src/format/binary-log-event.ts';
import { decrypt, keyOptions, runScript } from '../support/decrypting.ts';
import { newServer, startKms, startServer } from '../support/lab.ts';

const ROWS = 'SELECT COUNT(*) AS n, SUM(CRC32(CONCAT_WS(0x2c, i, s))) AS sum FROM d.t';

function decryptLogs(server: ScratchServer, kms: DevKms, ...more: readonly string[]) {
  return decrypt('binlog', server.datadir, kms.url, ...more);
}

function logsOf(server: ScratchServer): readonly string[] {
  return readdirSync(server.datadir)
    .filter((name) => /^binlog\.\d+$/.test(name))
    .sort()
    .map((name) => join(server.datadir, name));
}

/** Writes logs under three key versions, with checksums and without. */
async function writeLogs(server: ScratchServer): Promise<unknown> {
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT PRIMARY KEY, s MEDIUMTEXT) ENGINE=InnoDB');
  for (let log = 0; log < 4; log += 1) {
    await server.sql(`INSERT INTO d.t SELECT seq + ${log * 1000}, REPEAT('a', seq) FROM d.seq_1_to_500`);
    await server.sql(`INSERT INTO d.t VALUES (${log * 1000 + 999}, REPEAT('long ', 100000))`);
    await server.sql(`UPDATE d.t SET s = CONCAT(s, '-${log}') WHERE i % 3 = 0`);
    if (log < 2) await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
    if (log < 3) await server.sql(`SET GLOBAL binlog_checksum='${log === 1 ? 'NONE' : 'CRC32'}'`);
    await server.sql(`DELETE FROM d.t WHERE i = ${log * 1000 + 7}`);
    if (log < 3) await server.sql('FLUSH BINARY LOGS');
  }
  return await server.sql(ROWS);
}

/** Returns the commands of a block of docs/decrypt.md, and what it says that they print. */
function transcript(command: string) {
  const page = readFileSync(join(import.meta.dirname, '../../docs/decrypt.md'), 'utf8');
  const blocks = [...page.matchAll(/^```\n(.*?)^```$/gms)].map(([, lines = '']) => lines);
  const lines = (blocks.find((block) => block.includes(command)) ?? '').split(/(?<=\n)/);
  return {
    commands: lines.filter((line) => line.startsWith('# ')).map((line) => line.slice(2).trimEnd()),
    output: lines.filter((line) => !line.startsWith('# ')).join(''),
  };
}

function withoutNumbers(text: string): string {
  return text.replaceAll(/\b\d+ events/g, 'N events').replaceAll(/from \d+ on/g, 'from N on');
}

it('a fresh server gets all rows from the decrypted logs of a killed one, and mariadb-binlog reads them by position', async () => {
  const kms = await startKms();
  const server = await startServer(kms, {
    log_bin: 'binlog',
    server_id: 1,
    encrypt_binlog: 'ON',
    binlog_format: 'ROW',
  });
  const rows = await writeLogs(server);
  const active = logsOf(server).at(-1) ?? '';
  const ofActive = await runScript(
    'log=$1 binlog=$2; shift 2; "$@" --stdout - < "$log" | "$binlog" --no-defaults -',
    active,
    serverTool('mariadb-binlog'),
    COMMAND,
    'decrypt',
    'binlog',
    ...keyOptions(server.datadir, kms.url),
  );
  expect({ status: ofActive.status, stderr: ofActive.stderr }).toEqual({
    status: 0,
    stderr: expect.stringMatching(/^standard input: \d+ events, encrypted with key 1 version 3 \(AES_CBC\)\n$/),
  });
  expect(ofActive.stdout).toContain('Write_rows');
  await server.sql('CREATE DATABASE last_of_all');
  await server.kill();
  const logs = logsOf(server);
  // The last event of a killed server can be cut anywhere.
  const last = readFileSync(logs.at(-1) ?? '');
  let end = 4;
  for (let next = end; next < last.length; next += last.readUInt32LE(next + EVENT_LENGTH)) end = next;
  truncateSync(logs.at(-1) ?? '', end + 40);

  const copies = join(server.directory, 'copies');
  mkdirSync(copies);
  const toFiles = await decryptLogs(server, kms, '--to', copies, ...logs);
  expect(toFiles.status, toFiles.stderr).toBe(3);
  expect(toFiles.stderr).toMatch(/it ends within an event: the last 40 bytes, from \d+ on, are left out/);
  for (const version of [1, 2, 3]) expect(toFiles.stdout).toContain(`key 1 version ${version} (AES_CBC)`);
  expect(readdirSync(copies)).toEqual(logs.map((log) => basename(log)));
  for (const [index, name] of readdirSync(copies).entries()) {
    const copy = statSync(join(copies, name));
    expect(copy.mode & 0o777).toBe(0o600);
    expect(copy.size).toBe(statSync(logs[index] ?? '').size - (index === logs.length - 1 ? 40 : 0));
  }

  // The server, which knows the keys, tells where events are.
  await server.start();
  const shown = await server.sql(`SHOW BINLOG EVENTS IN 'binlog.000003'`);
  const [from, to] = [shown[8]?.['Pos'], shown[16]?.['Pos']];
  const part = execFileSync(
    serverTool('mariadb-binlog'),
    [
      '--no-defaults',
      '--verify-binlog-checksum',
      `--start-position=${from}`,
      `--stop-position=${to}`,
      join(copies, 'binlog.000003'),
    ],
    { encoding: 'utf8' },
  );
  const positions = [...part.matchAll(/^# at (\d+)$/gm)].map(([, at]) => Number(at)).filter((at) => at >= Number(from));
  expect(positions).toEqual(shown.slice(8, 16).map((row) => row['Pos']));
  await server.stop();

  const fresh = newServer({ plugin_dir: undefined });
  await fresh.start();
  const backup = join(server.directory, 'backup');
  mkdirSync(backup);
  for (const log of logs) copyFileSync(log, join(backup, basename(log)));
  writeFileSync(join(backup, 'binlog.index'), logs.map((log) => `./${basename(log)}\n`).join(''));
  const { commands, output } = transcript('binlog --keyfile-dir');
  expect(commands.at(-1)).toBe('echo $?');
  const replay = await runScript(
    `cd "$1"; socket=$2 binlog=$3 command=$4 keys=$5 url=$6
    mariadb-aws-kms() { "$command" "\${@//'/backup/keys'/$keys}" --no-defaults --endpoint-url "$url"; }
    mariadb-binlog() { "$binlog" --no-defaults "$@"; }
    mariadb() { command mariadb --no-defaults --user=root --socket="$socket"; }
    ${commands.join('\n')}`,
    backup,
    fresh.socket,
    serverTool('mariadb-binlog'),
    COMMAND,
    server.datadir,
    kms.url,
  );
  expect(withoutNumbers(replay.stderr + replay.stdout)).toBe(withoutNumbers(output));
  expect(replay.stdout).toBe('3\n');
  expect(await fresh.sql(ROWS)).toEqual(rows);
}, 60_000);

it('a damaged log, a taken name and a missing version leave no file behind', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { log_bin: 'binlog', server_id: 1, encrypt_binlog: 'ON' });
  await server.sql('CREATE DATABASE d');
  await server.sql('FLUSH BINARY LOGS');
  await server.stop();
  const [log = '', next = ''] = logsOf(server);
  const copies = join(server.directory, 'copies');
  mkdirSync(copies);

  const bytes = readFileSync(log);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  const spoiled = join(server.directory, 'spoiled');
  writeFileSync(spoiled, bytes);
  const damaged = await decryptLogs(server, kms, '--to', join(copies, 'binlog'), spoiled);
  expect(damaged.status).toBe(1);
  expect(damaged.stderr).toMatch(
    /^mariadb-aws-kms: error: \S+spoiled: the event at \d+ \(Rotate type 4, \d+ bytes, key 1 version 1\) is damaged: its checksum is wrong\n$/,
  );

  const taken = await decryptLogs(server, kms, '--to', log, next);
  expect(taken).toMatchObject({
    status: 1,
    stderr: `mariadb-aws-kms: error: ${log}: it exists, and is not replaced\nhint: name another place, or remove that file if nobody needs it\n`,
  });

  const other = await startKms();
  const elsewhere = await startServer(other, { log_bin: 'binlog', server_id: 1, encrypt_binlog: 'ON' });
  await elsewhere.stop();
  const wrong = await decryptLogs(elsewhere, other, '--to', copies, log);
  expect(wrong.status).toBe(1);
  expect(wrong.stderr).toMatch(/the events from \d+ on do not decrypt with key 1 version 1\nhint: /);
  expect(readdirSync(copies)).toEqual([]);
  expect(existsSync(log)).toBe(true);
}, 60_000);
