/** `init` with a real server, which a script of Debian's kind starts, and a real KMS of the trial. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, expect, it, vi } from 'vitest';
import { TEST_ACCESS_KEYS_FILE } from '../../harness/scratch-server.ts';
import { expectKeyError } from '../support/expect-error.ts';
import { at, commandLine, everything, init, isActive, makeServer, script, shell, sql } from '../support/init-server.ts';
import { startKms } from '../support/lab.ts';
import { until } from '../support/scratch.ts';

// Each test starts a server up to six times, which a busy machine does slowly.
vi.setConfig({ testTimeout: 300_000 });
beforeEach(makeServer);

it('a trial begins with an encrypted table, and ends when nothing is encrypted any more', async () => {
  await script('start');
  const untouched = everything();
  expect((await init('--embedded-kms', '--dry-run')).out).toMatch(/^next: the same command without --dry-run/m);
  expect(everything(), 'a dry run writes nothing').toBe(untouched);
  const first = await init('--embedded-kms');
  expect(first.err).toContain('TRIAL, PROTECTS NOTHING');
  expect(first.out).toContain('the server runs, and the plugin is active');
  expect(await sql('SELECT @@aws_key_management_master_key_id')).toBe('alias/trial-protects-nothing');
  await sql(`CREATE DATABASE d; CREATE TABLE d.t (i INT) ENCRYPTED=YES; INSERT INTO d.t VALUES (7);
    CREATE TABLE d.\`a-\`\`b\` (i INT) ENCRYPTED='yes' PARTITION BY HASH (i) PARTITIONS 2`);
  const [pid, written] = [readFileSync(at('pid'), 'utf8'), everything()];
  expect((await init('--embedded-kms')).out).not.toMatch(/^new|restarting/m);
  expect(everything(), 'a second run writes nothing').toBe(written);
  expect(readFileSync(at('pid'), 'utf8'), 'nor does it restart the server').toBe(pid);

  const refusal = await expectKeyError(
    init('--remove-trial'),
    'SETUP_REFUSED',
    /without them: (?=.*\bd\/t\b)(?=.*d\/a@).*; nothing/,
  );
  expect(readFileSync(at('pid'), 'utf8')).toBe(pid);
  await shell(/All that have ENCRYPTED=YES: (.*)$/.exec(refusal.hint)?.[1] ?? 'false');
  expect(await sql("SELECT DISTINCT create_options FROM information_schema.tables WHERE table_name='t'")).toMatch(/NO/);

  const kms = readFileSync(at('trial/kms.pid'), 'utf8').trim();
  const before = everything();
  await init('--remove-trial', '--dry-run');
  expect(everything(), 'a dry run of the removal writes nothing').toBe(before);
  writeFileSync(at('data/aws-kms-key.1.1'), 'a copy that a restored backup has brought');
  const { err, out } = await init('--remove-trial');
  expect(out).toMatch(/^stopping the server\n(?:removed .*\n)+starting the server without the trial: /);
  await shell(/to move them aside: (.*)$/m.exec(err)?.[1] ?? 'false');
  expect(existsSync(at('data/aws-kms-key.1.1'))).toBe(false);
  expect(await sql('SELECT i FROM d.t')).toBe('7');
  expect(await isActive()).toBe(false);
  expect(commandLine(kms), 'the KMS of the trial has ended').toBe('');
  expect(readdirSync(at('options'))).toEqual([]);
  expect(existsSync(at('defaults'))).toBe(false);
  const [aside = ''] = readdirSync(at('.')).filter((name) => /^trial\.removed-\w+$/.test(name));
  expect(readdirSync(at(`${aside}/keys`)), 'no key file is deleted').toContain('aws-kms-key.1.1');
  expect((await init('--remove-trial')).err).toContain('there is nothing to remove');
});

it('a server with another encryption plugin is refused before anything is written', async () => {
  writeFileSync(at('options/file.cnf'), '[mariadb]\nplugin_load_add=file_key_management\n');
  const before = everything();
  await expectKeyError(init('--embedded-kms'), 'SETUP_REFUSED', /has the encryption plugin file_key_management/);
  await expectKeyError(
    init('--master-key', 'alias/x', '--region', 'eu-central-1'),
    'SETUP_REFUSED',
    /has the encryption plugin file_key_management/,
  );
  expect(everything()).toBe(before);
});

it('a server is set up with a master key, the doctor speaks, and a restart is all that is left', async () => {
  const kms = await startKms();
  const flags = ['--master-key', 'alias/mariadb-encryption', '--region', 'us-east-1', '--endpoint-url', kms.url];
  const credentials = at('credentials');
  const before = everything();
  await init(...flags, '--credentials', credentials, '--dry-run');
  expect(everything(), 'a dry run writes nothing').toBe(before);
  const first = await init(...flags, '--credentials', credentials);
  expect(first.out).toContain('kms:GenerateDataKeyWithoutPlaintext');
  expect(first.out).toContain(`next: write the access key into ${credentials}, then: mariadb-aws-kms doctor`);
  writeFileSync(credentials, TEST_ACCESS_KEYS_FILE);
  const written = everything();
  const second: unknown = JSON.parse((await init(...flags, '--credentials', credentials, '--json')).out);
  expect(second).toMatchObject({ ok: true, next: `${at('init.d')} restart` });
  expect(everything(), 'a second run writes nothing').toBe(written);
  await script('restart');
  await sql('CREATE DATABASE d; CREATE TABLE d.t (i INT) ENCRYPTED=YES');
  expect(readdirSync(at('keys'))).toContain('aws-kms-key.1.1');
  await expectKeyError(
    init('--embedded-kms'),
    'SETUP_REFUSED',
    /^this server is set up for AWS already \(.*aws_key_management\.cnf\); nothing/,
  );

  await sql(
    'CREATE TABLE d.n (i INT) ENCRYPTED=NO; SET GLOBAL innodb_encrypt_tables=ON, GLOBAL innodb_encryption_threads=1',
  );
  const state = "SELECT MIN_KEY_VERSION FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME='d/n'";
  await sql('ALTER TABLE d.n FORCE');
  expect(await sql(state), 'ENCRYPTED=NO stays in the clear').not.toBe('1');
  await sql('ALTER TABLE d.n ENCRYPTED=DEFAULT');
  await until('ENCRYPTED=DEFAULT follows the server', async () => (await sql(state)) === '1');

  // The files say what the server has written so far.
  await sql('FLUSH TABLES d.t, d.n FOR EXPORT; UNLOCK TABLES');
  await shell('mv options/aws_key_management.cnf . && mv defaults defaults.old');
  const bare = everything();
  const data = await expectKeyError(
    init('--embedded-kms'),
    'SETUP_REFUSED',
    /^this server has data under other keys, which a trial would not have: \S+(?: and \d+ more files?)? \(key 1 version 1\)/,
  );
  expect(data.hint).not.toMatch(/copy|backup/);
  expect(everything(), 'nothing is written').toBe(bare);
  await shell('mv aws_key_management.cnf options/ && mv defaults.old defaults');
  const move = [...flags, '--credentials', credentials, '--keyfile-dir', at('other')];
  const whole = everything();
  const left = await expectKeyError(
    init(...move),
    'SETUP_REFUSED',
    /other does not hold: \S+(?: and \d+ more files?)? \(key 1 version 1\); they are in .*keys; nothing/,
  );
  expect(everything(), 'nothing is written').toBe(whole);
  await shell(/--keyfile-dir: (.* stop && install .*)$/.exec(left.hint)?.[1] ?? 'false');
  await shell('mv options/aws_key_management.cnf options/aws_key_management.cnf.old');
  expect((await init(...move)).out).toContain(`next: ${at('init.d')} restart`);
  await script('restart');
  expect(await sql('SELECT COUNT(*) FROM d.t')).toBe('0');
  expect(await sql('SELECT @@aws_key_management_keyfile_dir')).toBe(at('other'));
});

it('copies of key files in the data directory, which no data needs, do not decide where keys are', async () => {
  const flags = ['--master-key', 'alias/x', '--region', 'eu-central-1', '--credentials', at('credentials')];
  writeFileSync(at('data/aws-kms-key.1.1'), 'wrapped');
  const { err, out } = await init(...flags);
  expect(out).toContain(`aws_key_management_keyfile_dir = ${at('keys')}`);
  await shell(/to move them aside: (.*)$/m.exec(err)?.[1] ?? 'false');
  expect(existsSync(at('data/aws-kms-key.1.1'))).toBe(false);
  expect(readdirSync(at('keys.from-datadir')), 'no key file is deleted').toEqual(['aws-kms-key.1.1']);
});
