/** Keys of a real server are verified, copied for offline identities, and read again without KMS. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, PATH, type ScratchServer, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { DEFAULT_REGION, type DevKms } from '../../src/dev-kms/index.ts';
import { RETIRED_DIRECTORY } from '../../src/format/key-file-name.ts';
import { keyFiles, operations, run, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

async function command(...args: readonly string[]): Promise<Ended> {
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
  return await new Promise((resolve) => {
    execFile(COMMAND, args, { env, encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr });
    });
  });
}

function places(server: ScratchServer, kms: DevKms): readonly string[] {
  return ['--no-defaults', '--keyfile-dir', server.datadir, '--endpoint-url', kms.url];
}

/** A server with three versions of one key and one of another. */
async function loadedServer(kms: DevKms): Promise<ScratchServer> {
  const server = await startServer(kms);
  await server.sql('CREATE DATABASE d');
  for (const id of [3, 4]) {
    await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
    await server.sql(`INSERT INTO d.t${id} VALUES (${id})`);
  }
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  return server;
}

const NO_SYSLOG =
  /mariadb-aws-kms: note: no syslog here takes the head of the audit log: keep it elsewhere: [0-9a-f]{64}\n/;

it('verify tells sound keys, damaged ones, and those that it could not look at', async () => {
  const kms = await startKms();
  const server = await loadedServer(kms);
  const at = places(server, kms);
  kms.calls.clear();
  const { length } = keyFiles(server.datadir).filter((file) => /^aws-kms-key\.\d+\.\d+$/.test(file));
  expect(await command('verify', ...at)).toEqual({
    code: 0,
    stdout: `${server.datadir}: ${length} key versions, ${length} open\n`,
    stderr: '',
  });
  expect(new Set(operations(kms))).toEqual(new Set(['Decrypt']));
  kms.calls.clear();
  expect(await command('verify', ...at, '--metadata-only', '--json')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\{\n {2}"ok": true,\n(?:.*\n)* {2}"problems": \[\],/),
  });
  expect(operations(kms)).toEqual([]);
  const numbers = (opened: number, problems: number, warnings: number, unseen: number) =>
    `versions=${length} opened=${opened} problems=${problems} warnings=${warnings} unseen=${unseen}`;
  expect(await command('verify', ...at, '--check')).toEqual({
    code: 0,
    stdout: `KEYS OK: ${length} key versions, ${length} open | ${numbers(length, 0, 0, 0)}\n`,
    stderr: '',
  });

  writeFileSync(join(server.datadir, 'aws-kms-key.03.1'), 'x');
  expect(await command('verify', ...at, '--check')).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^KEYS WARNING: .*; aws-kms-key\.03\.1 in \S+: not the name of a key file \| /),
  });
  renameSync(join(server.datadir, 'aws-kms-key.3.2'), join(server.datadir, 'aside'));
  renameSync(join(server.datadir, 'aws-kms-key.3.2.json'), join(server.datadir, 'aside.json'));
  const holed = await command('verify', ...at);
  expect([holed.code, holed.stderr]).toEqual([
    1,
    expect.stringMatching(/^mariadb-aws-kms: error: key 3 version 2: missing in \S+, where later ones are\nhint: /),
  ]);
  expect((await command('verify', ...at, '--check')).code).toBe(2);
  mkdirSync(join(server.datadir, RETIRED_DIRECTORY));
  renameSync(join(server.datadir, 'aside'), join(server.datadir, RETIRED_DIRECTORY, 'aws-kms-key.3.2'));
  expect((await command('verify', ...at)).code).toBe(0);

  kms.faults.set([{ kind: 'error', operation: 'Decrypt', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  const denied = await command('verify', ...at);
  expect([denied.code, denied.stderr]).toEqual([
    3,
    expect.stringMatching(/^mariadb-aws-kms: error: not looked at: .*AccessDeniedException/),
  ]);
  expect(await command('verify', ...at, '--check')).toMatchObject({
    code: 3,
    stdout: expect.stringMatching(/^KEYS UNKNOWN: .* unseen=\d+\n$/),
  });
  expect(await command('verify', '--no-defaults', '--keyfile-dir', '/nonexistent', '--check')).toMatchObject({
    code: 3,
    stdout: expect.stringMatching(/^KEYS UNKNOWN: /),
  });
});

/** Unpacks Debian's package `age` and returns its directory of programs. */
async function debiansAge(): Promise<string> {
  const directory = scratchDirectory();
  await run('apt-get', ['--quiet=2', 'download', 'age'], { cwd: directory }).catch((error: unknown) => {
    throw new Error('cannot get the package age (is apt-get update due?)', { cause: error });
  });
  const file = readdirSync(directory).find((name) => name.endsWith('.deb')) ?? '';
  await run('dpkg-deb', ['--extract', file, 'tree'], { cwd: directory });
  return join(directory, 'tree/usr/bin');
}

it('an escrow copy opens with age, the drill proves it, and it is traced', async () => {
  const kms = await startKms();
  const [server, age] = await Promise.all([loadedServer(kms), debiansAge()]);
  const at = places(server, kms);
  const identity = join(server.directory, 'identity.txt');
  const copy = join(server.directory, 'keys.age');
  const log = join(server.directory, 'audit.log');
  execFileSync(join(age, 'age-keygen'), ['-o', identity], { stdio: 'ignore' });
  const recipient = execFileSync(join(age, 'age-keygen'), ['-y', identity], { encoding: 'utf8' }).trim();
  const escrow = ['escrow', ...at, '--audit-log', log, '--recipient', recipient, '--to', copy];
  const { length } = keyFiles(server.datadir).filter((file) => /^aws-kms-key\.\d+\.\d+$/.test(file));

  expect(await command(...escrow)).toEqual({
    code: 2,
    stdout: '',
    stderr:
      'mariadb-aws-kms: error: whoever has an identity of a recipient can read all data of the server\nhint: keep the identities offline, and say --yes\n',
  });
  expect((await command(...escrow, '--dry-run')).stdout).toContain(
    `${length} key versions of ${server.datadir} would be`,
  );
  kms.faults.set([{ kind: 'error', operation: 'Decrypt', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  const denied = await command(...escrow, '--yes');
  expect([denied.code, denied.stderr]).toEqual([
    1,
    expect.stringMatching(/nothing was written: .*AccessDeniedException/),
  ]);
  expect([existsSync(copy), readdirSync(server.directory).filter((name) => name.includes('keys.age'))]).toEqual([
    false,
    [],
  ]);
  kms.faults.set([]);
  const made = await command(...escrow, '--yes');
  expect({ ...made, stderr: made.stderr.replace(NO_SYSLOG, '') }).toEqual({
    code: 0,
    stdout: `${copy}: ${length} key versions of ${server.datadir} written for 1 recipient\nNext: mariadb-aws-kms escrow-drill ${copy} --identity FILE\n`,
    stderr: '',
  });
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  expect(await command(...escrow, '--yes')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`${copy}: it exists, and is not replaced`),
  });

  const entries = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(entries.map(({ command: verb, event, outcome }) => [verb, outcome ?? event])).toEqual([
    ['escrow', 'intent'],
    ['escrow', 'failed'],
    ['escrow', 'intent'],
    ['escrow', 'done'],
    ['escrow', 'intent'],
    ['escrow', 'failed'],
  ]);
  expect(entries[3]).toMatchObject({
    about: { versions: length },
    kmsRequestIds: Array(length).fill(expect.any(String)),
  });
  expect(await command('audit-log', 'verify', '--file', log, '--head', entries[3].hash)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(': 6 entries: as written; head '),
  });

  const text = execFileSync(join(age, 'age'), ['-d', '-i', identity, copy], { encoding: 'utf8' });
  const opened = kms.kms.decrypt({
    region: DEFAULT_REGION,
    ciphertextBlob: readFileSync(join(server.datadir, 'aws-kms-key.4.1')),
  });
  const hex = Buffer.from(opened.plaintext).toString('hex');
  expect(text).toMatch(new RegExp(`^4;1;AES_CBC;[0-9a-f]{16};${hex}$`, 'm'));
  expect(readFileSync(log, 'utf8')).not.toContain(hex);

  const drill = ['escrow-drill', copy, '--identity', identity];
  expect(await command(...drill, ...at)).toEqual({
    code: 0,
    stdout: `${copy}: opens: ${length} key versions, ${length} proven to be the server's\n`,
    stderr: '',
  });
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  const lacking = await command(...drill, ...at, '--no-kms');
  expect([lacking.code, lacking.stderr]).toEqual([
    1,
    expect.stringMatching(/^mariadb-aws-kms: error: the copy lacks key 3 version 4\nhint: /),
  ]);
  await server.stop();
  await kms.close();
  // As docs/operation.md says.
  const keys = join(server.directory, 'keys.txt');
  const awk = `awk -F';' '!/^#/ && !seen[$1]++ {print $1";"$5}'`;
  execFileSync('sh', ['-ec', `umask 077; ${join(age, 'age')} -d -i ${identity} ${copy} | ${awk} > ${keys}`]);
  const clear = join(server.directory, 't4.ibd');
  const from = join(server.datadir, 'd/t4.ibd');
  expect(await command('decrypt', 'tablespace', '--to', clear, '--key-file', keys, from)).toMatchObject({ code: 0 });
  expect(existsSync(clear)).toBe(true);
  expect(await command(...drill, '--offline')).toMatchObject({
    code: 0,
    stdout: `${copy}: opens: ${length} key versions, not compared with a server\n`,
  });
  const other = join(server.directory, 'other.txt');
  execFileSync(join(age, 'age-keygen'), ['-o', other], { stdio: 'ignore' });
  expect(await command('escrow-drill', copy, '--identity', other, '--offline')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^mariadb-aws-kms: error: the escrow copy cannot be opened: /),
  });
});
