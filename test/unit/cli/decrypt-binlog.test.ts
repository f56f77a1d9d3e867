/** `decrypt binlog` with logs of real servers: test/vectors/logs. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { decryptBinlogCommand } from '../../../src/cli/decrypt/binlog.ts';
import type { ByteStreams } from '../../../src/cli/decrypt/byte-streams.ts';
import { systemSurroundings } from '../../../src/cli/system-surroundings.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { recordedIo } from '../../support/recorded-io.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const LOG = readFileSync(join(import.meta.dirname, '../../vectors/logs/checksums-cbc'));
const LEFT_OUT = 'it ends within an event: the last 16 bytes, from 859 on, are left out';

let root: string;
beforeEach(() => {
  root = scratchDirectory();
  mkdirSync(join(root, 'copies'));
  put('keys.txt', `1;${'01'.repeat(16)}\n`);
});

function put(name: string, content: string | Uint8Array): string {
  const path = join(root, name);
  writeFileSync(path, content);
  return path;
}

async function decrypt(...args: readonly string[]) {
  const { io, printed } = recordedIo();
  const parts: Buffer[] = [];
  const streams: ByteStreams = {
    input: { name: 'standard input', close: () => undefined, read: async () => 0 },
    output: async (bytes) => void parts.push(Buffer.from(bytes)),
    showsOutput: false,
  };
  const options = ['--key-file', join(root, 'keys.txt'), ...args];
  await decryptBinlogCommand(io, systemSurroundings, () => streams)
    .exitOverride()
    .parseAsync(options, { from: 'user' });
  const text = (found: string): string => found.replaceAll(`${root}/`, '');
  return {
    status: printed.status,
    stdout: text(printed.stdout),
    stderr: text(printed.stderr),
    bytes: Buffer.concat(parts),
  };
}

const copies = (): string => join(root, 'copies');

it('a cut end of the last log has a status of its own', async () => {
  const logs = [put('binlog.000001', LOG), put('binlog.000002', LOG.subarray(0, 875))];
  expect(await decrypt('--to', copies(), ...logs)).toMatchObject({
    status: 3,
    stdout: expect.stringMatching(
      /^binlog\.000001: \d+ events, encrypted with key 1 version 1 \(AES_CBC\): copies\/binlog\.000001\n.+\n$/,
    ),
    stderr: `mariadb-aws-kms: note: binlog.000002: ${LEFT_OUT}\n`,
  });
  expect(existsSync(join(copies(), 'binlog.000002'))).toBe(true);
  expect((await decrypt('--stdout', ...logs)).status).toBe(3);
});

it('no log follows a cut one on standard output, and the status is that of a failure', async () => {
  const logs = [put('binlog.000001', LOG.subarray(0, 875)), put('binlog.000002', LOG)];
  const { status, stdout, stderr, bytes } = await decrypt('--stdout', ...logs);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toContain(`error: binlog.000001: ${LEFT_OUT}, and it is not the last log\nhint: copy the log again; `);
  expect(bytes.length).toBe(859);
  expect((await decrypt('--to', copies(), ...logs)).status).toBe(1);
});

it('the logs behind a bad one are copied, and the lists of the server are skipped', async () => {
  const spoiled = Buffer.from(LOG);
  spoiled[600] = (spoiled[600] ?? 0) ^ 1;
  const logs = [put('binlog.000001', spoiled), put('binlog.000002', LOG)];
  const lists = ['binlog.index', 'binlog.state'].map((name) => put(name, './binlog.000001\n'));
  const { status, stdout, stderr } = await decrypt('--to', copies(), ...logs, ...lists);
  expect(status).toBe(1);
  expect(stdout).toMatch(/^binlog\.000002: .+\n$/);
  expect(stderr).toMatch(
    /^mariadb-aws-kms: note: binlog\.index: it is a list of the server, and no log: it is skipped\n.+binlog\.state: .+\nmariadb-aws-kms: error: binlog\.000001: the event at \d+ .+ is damaged/,
  );
  expect([1, 2].map((log) => existsSync(join(copies(), `binlog.00000${log}`)))).toEqual([false, true]);
  await expectKeyError(decrypt('--to', copies(), ...lists), 'BAD_OPTION', 'no log is named');
});

it('--json tells the events, the copies and the problems', async () => {
  const logs = [put('binlog.000001', Buffer.from('no log')), put('binlog.000002', LOG.subarray(0, 875))];
  const { status, stdout } = await decrypt('--json', '--to', copies(), ...logs);
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    ok: false,
    files: [
      {
        file: 'binlog.000002',
        output: 'copies/binlog.000002',
        events: expect.any(Number),
        keyVersion: 1,
        algorithm: 'AES_CBC',
        unfinished: { position: 859, bytes: 16 },
        notes: [LEFT_OUT],
      },
    ],
    problems: [{ code: 'DATA_UNREADABLE', message: 'binlog.000001: it is no binary log', hint: '' }],
  });
  await expectKeyError(
    decrypt('--json', '--stdout', ...logs),
    'BAD_OPTION',
    '--json: standard output is what --stdout prints the logs to',
  );
});
