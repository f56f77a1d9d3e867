/** `decrypt tablespace`: a server without a key plugin imports what a server with one has encrypted. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, type ScratchServer, serverPlugin, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { newServer, run, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const FILE_KEYS = `1;${'11'.repeat(16)}\n5;${'22'.repeat(32)}\n`;
const COLUMNS = 'i INT PRIMARY KEY, s VARCHAR(200), b LONGTEXT, p POINT NOT NULL, KEY (s)';
/** Each form of a table, by the setting of checksums that its pages have. */
const FORMS = {
  plain: ['full_crc32', ''],
  paged: ['full_crc32', 'PAGE_COMPRESSED=1'],
  old: ['crc32', ''],
  oldpaged: ['crc32', 'PAGE_COMPRESSED=1'],
  zip: ['full_crc32', 'ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8'],
} as const;
const FORM_NAMES = Object.keys(FORMS).filter((name): name is keyof typeof FORMS => name in FORMS);

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command as it ships. */
async function command(...args: string[]): Promise<Ran> {
  return await run(COMMAND, args, { env: { ...process.env, ...TEST_CREDENTIALS } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Ran) => error,
  );
}

async function makeTable(server: ScratchServer, name: keyof typeof FORMS, key: number): Promise<void> {
  const [checksums, options] = FORMS[name];
  await server.sql(`SET GLOBAL innodb_checksum_algorithm = ${checksums}`);
  await server.sql(
    `CREATE TABLE d.${name} (${COLUMNS}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${key} ${options}`,
  );
  await server.sql(
    `INSERT INTO d.${name} SELECT seq, SHA2(seq, 512), REPEAT(SHA2(seq + 1, 512), 40), POINT(seq, -seq) FROM d.seq_1_to_300`,
  );
  if (name === 'plain') await server.sql(`ALTER TABLE d.${name} ADD SPATIAL KEY (p)`);
}

async function sums(server: ScratchServer): Promise<unknown> {
  const found: unknown[] = [];
  for (const name of FORM_NAMES)
    found.push(
      ...(await server.sql(
        `SELECT '${name}' t, COUNT(*) n, SUM(CRC32(CONCAT(i, s, b, ST_AsText(p)))) c FROM d.${name} FORCE INDEX (PRIMARY)`,
      )),
    );
  return found;
}

/** Copies the files of the tables as a backup of them. @returns the directory */
async function exported(server: ScratchServer): Promise<string> {
  const to = scratchDirectory();
  const session = await server.connect();
  try {
    await session.query(`FLUSH TABLES ${FORM_NAMES.map((name) => `d.${name}`).join(', ')} FOR EXPORT`);
    for (const file of FORM_NAMES.flatMap((name) => [`${name}.ibd`, `${name}.cfg`]))
      copyFileSync(join(server.datadir, 'd', file), join(to, file));
  } finally {
    await session.end();
  }
  return to;
}

/** Imports each tablespace of a directory. @returns the answers of CHECK TABLE */
async function importAll(server: ScratchServer, from: string, backup: string): Promise<readonly unknown[]> {
  const answers: unknown[] = [];
  for (const name of FORM_NAMES) {
    const [checksums, options] = FORMS[name];
    await server.sql(`SET GLOBAL innodb_checksum_algorithm = ${checksums}`);
    const spatial = name === 'plain' ? ', SPATIAL KEY (p)' : '';
    await server.sql(`CREATE TABLE d.${name} (${COLUMNS}${spatial}) ENGINE=InnoDB ${options}`);
    await server.sql(`ALTER TABLE d.${name} DISCARD TABLESPACE`);
    copyFileSync(join(from, `${name}.ibd`), join(server.datadir, `d/${name}.ibd`));
    copyFileSync(join(backup, `${name}.cfg`), join(server.datadir, `d/${name}.cfg`));
    await server.sql(`ALTER TABLE d.${name} IMPORT TABLESPACE`);
    answers.push((await server.sql(`CHECK TABLE d.${name}`))[0]?.['Msg_text']);
  }
  return answers;
}

/** The same rows in each form, in a backup of the tables. */
interface Made {
  readonly keys: string;
  readonly backup: string;
  readonly sums: unknown;
}

async function fill(server: ScratchServer, key: number): Promise<void> {
  await server.sql('CREATE DATABASE d');
  for (const name of FORM_NAMES) await makeTable(server, name, key);
}

/** Files of the plugin, with pages of version 1 and of version 2. */
async function makeOwn(kms: DevKms): Promise<Made> {
  const server = await startServer(kms, {}, { directory: scratchDirectory() });
  await fill(server, 5);
  // Pages are written under version 1 first.
  await exported(server);
  await server.sql('SET GLOBAL aws_key_management_rotate_key = 5');
  for (const name of FORM_NAMES) await server.sql(`UPDATE d.${name} SET s = REVERSE(s) WHERE i < 20`);
  const made = { keys: server.datadir, backup: await exported(server), sums: await sums(server) };
  await server.stop();
  return made;
}

/** A server without a key plugin. */
async function startClear(): Promise<ScratchServer> {
  const server = newServer({});
  await server.start();
  await server.sql('CREATE DATABASE d');
  return server;
}

/** The options that name the plugin's keys. */
function keySource(kms: DevKms, directory: string): string[] {
  return ['--no-defaults', '--keyfile-dir', directory, '--endpoint-url', kms.url, '--region', 'us-east-1'];
}

it('tables of the plugin in every form import into a server without it, with two key versions', async () => {
  const kms = await startKms();
  const own = await makeOwn(kms);
  const [to, keys] = [scratchDirectory(), keySource(kms, own.keys)];
  const files = FORM_NAMES.map((name) => join(own.backup, `${name}.ibd`));
  const ran = await command('decrypt', 'tablespace', ...keys, '--json', '--to', to, ...files);
  expect(ran.stderr).toBe('');
  const answer: { ok: boolean; files: { versions: { version: number; proofs: unknown }[] }[] } = JSON.parse(ran.stdout);
  expect(answer.ok).toBe(true);
  expect(answer.files.map(({ versions }) => versions.map(({ version }) => version))).toEqual(
    FORM_NAMES.map(() => [1, 2]),
  );
  for (const name of FORM_NAMES) {
    expect(statSync(join(to, `${name}.ibd`)).mode & 0o777).toBe(0o600);
    await run('innochecksum', [join(to, `${name}.ibd`)]);
  }
  const clear = await startClear();
  expect(await importAll(clear, to, own.backup)).toEqual(FORM_NAMES.map(() => 'OK'));
  expect(await sums(clear)).toEqual(own.sums);
  await clear.stop();
  const plain = join(own.backup, 'plain.ibd');
  await expectDamageNamed(plain, keys);
  await expectRefusals(kms, own, keys);
  await expectNothingLeft(plain, keys);
}, 120_000);

it.each(['AES_CBC', 'AES_CTR'])(
  'tables of file_key_management with %s import, and the algorithm is found',
  async (algorithm) => {
    const directory = scratchDirectory();
    const keyFile = join(directory, 'keys.txt');
    writeFileSync(keyFile, FILE_KEYS);
    const server = newServer({
      plugin_dir: serverPlugin('file_key_management').replace(/\/[^/]*$/, ''),
      plugin_load_add: 'file_key_management',
      file_key_management_filename: keyFile,
      file_key_management_encryption_algorithm: algorithm,
    });
    await server.start();
    await fill(server, 5);
    const [expected, backup] = [await sums(server), await exported(server)];
    await server.stop();
    const to = scratchDirectory();
    const files = FORM_NAMES.map((name) => join(backup, `${name}.ibd`));
    const ran = await command('decrypt', 'tablespace', '--key-file', keyFile, '--to', to, ...files);
    expect({ code: ran.code, stderr: ran.stderr }).toEqual({ code: 0, stderr: '' });
    expect(ran.stdout.match(new RegExp(`key 5 version 1: \\d+, ${algorithm}`, 'g'))).toHaveLength(FORM_NAMES.length);
    const clear = await startClear();
    expect(await importAll(clear, to, backup)).toEqual(FORM_NAMES.map(() => 'OK'));
    expect(await sums(clear)).toEqual(expected);
    await expectVerified(server.datadir, keyFile);
  },
  120_000,
);

/** `verify-data` proves the whole data directory, and names a key that is not there. */
async function expectVerified(datadir: string, keyFile: string): Promise<void> {
  const verified = await command('verify-data', '--key-file', keyFile, datadir);
  expect({ code: verified.code, stderr: verified.stderr }).toEqual({ code: 0, stderr: '' });
  expect(verified.stdout).toMatch(/^key 5 version 1: [\d,]+ pages and events of 5 files decrypt$/m);
  writeFileSync(keyFile, FILE_KEYS.replace(/^5;.*$/m, ''));
  const short = await command('verify-data', '--key-file', keyFile, datadir);
  expect(short.code).toBe(1);
  expect(short.stderr).toContain(`error: key 5 version 1 is not in the key file ${keyFile}`);
  expect(short.stderr).toContain('error: key 5 version 1 is needed by d/old.ibd, d/oldpaged.ibd, d/paged.ibd');
}

/** A page that is damaged is named and stays, and the other pages are in clear. */
async function expectDamageNamed(file: string, keys: readonly string[]): Promise<void> {
  const directory = scratchDirectory();
  const damaged = join(directory, 'plain.ibd');
  const bytes = readFileSync(file);
  bytes[5 * 16_384 + 1_000] = (bytes[5 * 16_384 + 1_000] ?? 0) ^ 1;
  writeFileSync(damaged, bytes);
  const ran = await command('decrypt', 'tablespace', ...keys, '--to', join(directory, 'out'), damaged);
  expect(ran.code).toBe(1);
  expect(ran.stderr).toMatch(
    /^mariadb-aws-kms: error: \S+plain\.ibd: page 5 \(key version [12], LSN \d+, type 17855, index\): its checksum is wrong; it stays in the copy as it was$/m,
  );
  const copy = readFileSync(join(directory, 'out'));
  expect(copy.subarray(5 * 16_384, 6 * 16_384)).toEqual(bytes.subarray(5 * 16_384, 6 * 16_384));
  expect(copy.readUInt32BE(4 * 16_384)).toBe(0);
}

/** Wrong keys, a version that is gone, and an output that exists leave no file in clear and name the cause. */
async function expectRefusals(kms: DevKms, { keys: datadir, backup }: Made, right: readonly string[]): Promise<void> {
  const file = join(backup, 'plain.ibd');
  const directory = scratchDirectory();
  const wrong = join(directory, 'keys.txt');
  writeFileSync(wrong, FILE_KEYS);
  const out = join(directory, 'out.ibd');
  // file_key_management has no version 2, and another key 5.
  const other = await command('decrypt', 'tablespace', '--key-file', wrong, '--to', out, file);
  expect(other.code).toBe(1);
  expect(other.stderr).toContain('encrypted pages opens');
  const keys = join(directory, 'keys');
  mkdirSync(keys);
  for (const file of readdirSync(datadir).filter((name) => name.startsWith('aws-kms-key.5.1')))
    copyFileSync(join(datadir, file), join(keys, file));
  const missing = await command(
    'decrypt',
    'tablespace',
    ...keySource(kms, keys),
    '--to',
    join(directory, 'part.ibd'),
    file,
  );
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain(`key 5 version 2 is not in the key directory ${keys}`);
  const before = readFileSync(file);
  const same = await command('decrypt', 'tablespace', ...right, '--to', backup, file);
  expect(same.code).toBe(1);
  expect(same.stderr).toContain(`${file}: it exists, and is not replaced`);
  expect(readFileSync(file).equals(before)).toBe(true);
  expect(readdirSync(directory).sort()).toEqual(['keys', 'keys.txt', 'part.ibd']);
}

/** An interrupted run leaves nothing but a whole copy. */
async function expectNothingLeft(file: string, keys: readonly string[]): Promise<void> {
  const directory = scratchDirectory();
  const large = join(directory, 'large.ibd');
  copyFileSync(file, large);
  const out = join(directory, 'out');
  mkdirSync(out);
  const child = run(COMMAND, ['decrypt', 'tablespace', ...keys, '--to', out, large], {
    env: { ...process.env, ...TEST_CREDENTIALS },
  });
  const ended = child.then(
    () => 0,
    (error: Ran) => error.code,
  );
  await until('the copy begins or is made', () => readdirSync(out).length > 0);
  child.child.kill('SIGTERM');
  await ended;
  // The copy is whole, or not there.
  expect(readdirSync(out).filter((name) => name !== 'large.ibd')).toEqual([]);
}
