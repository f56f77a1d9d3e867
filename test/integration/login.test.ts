import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { loginCommand } from '../../src/cli/login.ts';
import { TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { SYSTEM_PATHS } from '../../src/server/surroundings.ts';
import { expectKeyError } from '../support/expect-error.ts';
import { SESSION, type StsBehaviour, startIdentitySts } from '../support/identity-sts.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

const SERIAL = 'arn:aws:iam::111122223333:mfa/mariadb';
const LONG_TERM = `[admin]
aws_access_key_id = ${TEST_ACCESS_KEY.accessKeyId}
aws_secret_access_key = ${TEST_ACCESS_KEY.secretAccessKey}
`;

async function newLogin(behaviour: StsBehaviour = {}) {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  const home = scratchDirectory();
  const file = join(home, '.aws/credentials');
  mkdirSync(join(home, '.aws'), { mode: 0o700 });
  writeFileSync(file, LONG_TERM, { mode: 0o600 });
  vi.stubEnv('HOME', home);
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', file);
  cleanUp(() => void vi.unstubAllEnvs());
  const sts = await startIdentitySts(behaviour);
  const lines: string[] = [];
  const run = async (options: readonly string[], typed = '123456', passwd = '/etc/passwd'): Promise<void> => {
    const io = { stdout: (line: string) => lines.push(line), ask: async () => typed };
    // Replaces the services and servers of this machine.
    const paths = { ...SYSTEM_PATHS, passwd, units: [join(home, 'units')], proc: join(home, 'proc') };
    await loginCommand(io, { ...process.env }, paths)
      .exitOverride()
      .parseAsync(['--endpoint-url', sts.url, '--region', 'us-east-1', '--source-profile', 'admin', ...options], {
        from: 'user',
      });
  };
  const text = (): string => readFileSync(file, 'utf8');
  return { home, file, sts, lines, run, text };
}

function expectNoSecrets(lines: readonly string[]): void {
  for (const secret of [SESSION.secretAccessKey, SESSION.sessionToken, TEST_ACCESS_KEY.secretAccessKey]) {
    expect(lines.join('\n')).not.toContain(secret);
  }
}

it('login requests a session from STS, writes a section of its own at once, and removes it with --clear', async () => {
  const { home, file, sts, lines, run, text } = await newLogin();
  chmodSync(file, 0o644);
  await run(['--mfa-serial', SERIAL, '--duration', '3600']);
  expect(sts.calls).toMatchObject([
    { Action: 'GetSessionToken', SerialNumber: SERIAL, TokenCode: '123456', DurationSeconds: '3600' },
  ]);
  expect(text().startsWith(LONG_TERM)).toBe(true);
  expect(text()).toContain(`\n[default]\naws_access_key_id = ${SESSION.accessKeyId}\n`);
  expect(text()).toContain(`aws_session_token = ${SESSION.sessionToken}\n`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(home, '.aws'))).toEqual(['credentials']);
  expect(lines).toEqual([
    `wrote session credentials to ${file}, section [default]`,
    expect.stringMatching(/^they expire at 20\d\d-\d\d-\d\dT[\d:.]+Z, in 60 min$/),
    'next: mariadb-aws-kms doctor, then systemctl start mariadb',
  ]);
  expectNoSecrets(lines);

  await run(['--mfa-serial', SERIAL]);
  expect(text().match(/\[default\]/g)).toHaveLength(1);
  await run(['--clear']);
  expect(text()).toBe(LONG_TERM);
  await run(['--clear']);
  expect(lines.slice(-2)).toEqual([
    `removed session credentials from ${file}, section [default]`,
    `nothing of login is in ${file}, section [default]`,
  ]);
});

it('login writes another file and section, and prints what the service then needs', async () => {
  const { home, lines, run, text } = await newLogin();
  const output = join(home, 'service/credentials');
  await run(['--mfa-serial', SERIAL, '--output', output, '--profile', 'mariadb']);
  expect(readFileSync(output, 'utf8')).toContain('\n[mariadb]\n');
  expect(statSync(join(home, 'service')).mode & 0o777).toBe(0o700);
  expect(lines.at(-1)).toBe(
    `next: give the service AWS_PROFILE=mariadb and AWS_SHARED_CREDENTIALS_FILE=${output}, then mariadb-aws-kms doctor, then systemctl start mariadb`,
  );
  expect(text()).toBe(LONG_TERM);
});

it('login writes nothing after wrong digits', async () => {
  const { run, text, lines } = await newLogin();
  const error = await expectKeyError(
    run(['--mfa-serial', SERIAL], '654321'),
    'KMS_OPERATOR',
    'STS GetSessionToken failed: AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code. (request request-of-sts)',
  );
  expect(error.hint).toBe(
    `the digits were mistyped, used before, or are not those of ${SERIAL}: wait for the next ones and try again`,
  );
  await expectKeyError(
    run(['--mfa-serial', SERIAL], '12345'),
    'BAD_OPTION',
    'expected the six digits that the device shows now',
  );
  expect(text()).toBe(LONG_TERM);
  expect(lines).toEqual([]);
});

it.each([
  ['ExpiredToken', 'The security token included in the request is expired', 'KMS_OPERATOR', /have expired/],
  [
    'InvalidClientTokenId',
    'The security token included in the request is invalid.',
    'KMS_OPERATOR',
    /check the access key/,
  ],
  ['AccessDenied', 'Cannot call GetSessionToken with session credentials', 'KMS_OPERATOR', /--source-profile/],
  ['Throttling', 'Rate exceeded', 'KMS_TRANSIENT', /limits requests/],
] as const)('login explains %s of STS', async (name, message, code, hint) => {
  const { run, text } = await newLogin({ refuse: { name, message } });
  const error = await expectKeyError(
    run(['--mfa-serial', SERIAL]),
    code,
    `STS GetSessionToken failed: ${name}: ${message} (request request-of-sts)`,
  );
  expect(error.hint).toMatch(hint);
  expect(text()).toBe(LONG_TERM);
});

it('login explains an unreachable STS', async () => {
  const { run, text } = await newLogin();
  const error = await expectKeyError(
    run(['--mfa-serial', SERIAL, '--endpoint-url', 'http://127.0.0.1:9']),
    'KMS_TRANSIENT',
    'STS GetSessionToken failed: ECONNREFUSED: connect ECONNREFUSED 127.0.0.1:9',
  );
  expect(error.hint).not.toBe('');
  expect(text()).toBe(LONG_TERM);
});

it('login does not replace long-term keys, and then asks for no code', async () => {
  const { run, text, sts } = await newLogin();
  await expectKeyError(
    run(['--mfa-serial', SERIAL, '--profile', 'admin']),
    'BAD_OPTION',
    'the section [admin] is there already, and login did not write it',
  );
  expect(text()).toBe(LONG_TERM);
  expect(sts.calls).toEqual([]);
});

it('login follows no symbolic link', async () => {
  const { home, run, sts } = await newLogin();
  const target = join(home, 'target');
  const link = join(home, '.aws/link');
  symlinkSync(target, link);
  const message = `${link} was not changed: it is no regular file`;
  await expectKeyError(run(['--mfa-serial', SERIAL, '--output', link]), 'STORE_UNAVAILABLE', message);
  symlinkSync(join(home, '.aws'), join(home, 'linked'));
  const inside = join(home, 'linked/credentials');
  const refused = `${join(home, 'linked')} was not changed: it is no directory`;
  await expectKeyError(run(['--mfa-serial', SERIAL, '--output', inside]), 'STORE_UNAVAILABLE', refused);
  expect(existsSync(target)).toBe(false);
  expect(sts.calls).toEqual([]);
});

it('login writes into no directory that others may write', async () => {
  const { home, file, run } = await newLogin();
  chmodSync(join(home, '.aws'), 0o777);
  const message = `${join(home, '.aws')} was not changed: others may write this directory`;
  await expectKeyError(run(['--mfa-serial', SERIAL]), 'STORE_UNAVAILABLE', message);
  expect(readFileSync(file, 'utf8')).toBe(LONG_TERM);
});

it("login writes to the home of the server's user when root asks for it", async () => {
  expect(process.getuid?.(), 'this test needs root, which acts as another user').toBe(0);
  const { home, file, run, text, lines } = await newLogin();
  chmodSync(home, 0o755);
  const nobody = 65_534;
  const server = join(home, 'mysql');
  mkdirSync(server, { mode: 0o700 });
  chownSync(server, nobody, nobody);
  const passwd = join(home, 'passwd');
  writeFileSync(passwd, `root:x:0:0::${home}:/bin/sh\nmysql:x:${nobody}:${nobody}::${server}:/bin/false\n`);
  const inServer = join(server, '.aws/credentials');
  // The long-term keys must not come from a named file, because login would write there.
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', undefined);
  await run(['--mfa-serial', SERIAL], '123456', passwd);
  expect(readFileSync(inServer, 'utf8')).toContain(SESSION.accessKeyId);
  expect(statSync(inServer)).toMatchObject({ uid: nobody, gid: nobody });
  expect(lines[0]).toBe(`wrote session credentials to ${inServer}, section [default]`);
  await run(['--clear'], '', passwd);
  expect(existsSync(inServer)).toBe(false);
  writeFileSync(passwd, `root:x:0:0::${home}:/bin/sh\n`);
  await run(['--mfa-serial', SERIAL], '123456', passwd);
  expect(text()).toContain(SESSION.accessKeyId);
  expect(file).toBe(join(home, '.aws/credentials'));
});

it("login writes to the file that the server's unit names, and reports obstacles", async () => {
  expect(process.getuid?.(), 'this test needs root, which acts as another user').toBe(0);
  const { home, run, lines } = await newLogin();
  chmodSync(home, 0o755);
  const [passwd, place] = [join(home, 'passwd'), join(home, 'etc/credentials')];
  writeFileSync(passwd, 'mysql:x:65534:65534::/nonexistent:/bin/false\n');
  mkdirSync(join(home, 'etc'));
  const dropIns = join(home, 'units/mariadb.service.d');
  mkdirSync(dropIns, { recursive: true });
  writeFileSync(join(home, 'units/mariadb.service'), '[Service]\nExecStart=/usr/sbin/mariadbd\n');
  writeFileSync(join(dropIns, 'aws.conf'), `[Service]\nEnvironment=AWS_SHARED_CREDENTIALS_FILE=${place}\n`);
  vi.stubEnv('AWS_CONFIG_FILE', join(home, '.aws/credentials'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', undefined);
  await run(['--mfa-serial', SERIAL], '123456', passwd);
  expect(readFileSync(place, 'utf8')).toContain(SESSION.accessKeyId);
  expect(statSync(place)).toMatchObject({ uid: 65_534, gid: 65_534 });
  expect(lines[0]).toBe(`wrote session credentials to ${place}, section [default]`);
  expect(lines.at(-1)).toBe('next: mariadb-aws-kms doctor, then systemctl start mariadb');
  await run(['--mfa-serial', SERIAL, '--output', place], '123456', passwd);
  expect(lines.at(-1)).toBe('next: mariadb-aws-kms doctor, then systemctl start mariadb');
  await run(['--clear'], '', passwd);
  expect(existsSync(place)).toBe(false);
  const keys = join(dropIns, 'keys.conf');
  writeFileSync(keys, '[Service]\nEnvironment=AWS_PROFILE=db AWS_ACCESS_KEY_ID=AKIA0\n');
  await run(['--mfa-serial', SERIAL], '123456', passwd);
  expect(lines.at(-1)).toBe(
    `next: take AWS_ACCESS_KEY_ID out of mariadb.service (${keys}), which counts before the file, then give mariadb.service AWS_PROFILE=default, then mariadb-aws-kms doctor, then systemctl start mariadb`,
  );
});

it("login leaves another user's file alone", async () => {
  expect(process.getuid?.(), 'this test needs root, which acts as another user').toBe(0);
  const { file, run } = await newLogin();
  chownSync(file, 12_345, 12_345);
  await expectKeyError(
    run(['--mfa-serial', SERIAL]),
    'STORE_UNAVAILABLE',
    `${file} was not changed: it belongs to user 12345`,
  );
});

it("login acts as the server's user in directories of that user", async () => {
  expect(process.getuid?.(), 'this test needs root, which acts as another user').toBe(0);
  const { home, file, run } = await newLogin();
  const nobody = 65_534;
  const directory = join(home, 'service');
  mkdirSync(directory, { mode: 0o700 });
  chownSync(directory, nobody, nobody);
  chmodSync(home, 0o755);
  const output = join(directory, '.aws/credentials');
  await run(['--mfa-serial', SERIAL, '--user', 'nobody', '--output', output]);
  expect(statSync(output)).toMatchObject({ uid: nobody, gid: nobody });
  expect(statSync(join(directory, '.aws'))).toMatchObject({ uid: nobody, gid: nobody });
  await run(['--clear', '--output', output]);
  expect(existsSync(output)).toBe(false);
  expect(existsSync(join(directory, '.aws'))).toBe(false);
  // Without --user the file is given to the owner of the directory.
  await run(['--mfa-serial', SERIAL, '--output', output]);
  expect(statSync(output)).toMatchObject({ uid: nobody, gid: nobody });
  // A link cannot lead login to a place that the user could not reach.
  symlinkSync(home, join(directory, 'up'));
  const up = join(directory, 'up/credentials');
  await expectKeyError(
    run(['--mfa-serial', SERIAL, '--user', 'nobody', '--output', up]),
    'STORE_UNAVAILABLE',
    /up was not changed: /,
  );
  expect(process.geteuid?.()).toBe(0);
  expect(readFileSync(file, 'utf8')).toBe(LONG_TERM);
});

it.each([
  [[], '--mfa-serial: expected arn:aws:iam::ACCOUNT:mfa/NAME, got none'],
  [['--mfa-serial', 'me'], '--mfa-serial: expected arn:aws:iam::ACCOUNT:mfa/NAME, got "me"'],
  [['--duration', '899'], '--duration: expected 900 to 129600 seconds, got "899"'],
  [['--duration', '129601'], '--duration: expected 900 to 129600 seconds, got "129601"'],
  [['--profile', 'a]\n[b'], '--profile: expected letters, digits and . _ @ -, got "a]\n[b"'],
  [['--mfa-serial', SERIAL, '--user', 'nobody-here'], '--user: this machine has no user nobody-here'],
])('login refuses %j', async (options, message) => {
  const { run } = await newLogin();
  await expectKeyError(run(options), 'BAD_OPTION', message);
});

it('login refuses a file in a data directory, or a missing home, and names the right place', async () => {
  const { home, run, sts } = await newLogin();
  writeFileSync(join(home, 'ibdata1'), '');
  const hint = /^name another file: --output \/etc\/mariadb-aws-kms\/credentials, and give the service AWS_SHARED_/;
  const inside = join(home, 'below/.aws/credentials');
  const error = await expectKeyError(
    run(['--mfa-serial', SERIAL, '--output', inside]),
    'BAD_OPTION',
    `${inside} is in the data directory ${home}: the server would call its directory a database`,
  );
  expect(error.hint).toMatch(hint);
  const passwd = join(scratchDirectory(), 'passwd');
  writeFileSync(passwd, `mysql:x:${process.getuid?.()}:${process.getgid?.()}::/nonexistent:/bin/false\n`);
  const homeless = await expectKeyError(
    run(['--mfa-serial', SERIAL, '--user', 'mysql'], '123456', passwd),
    'BAD_OPTION',
    'the home directory /nonexistent does not exist',
  );
  expect(homeless.hint).toMatch(hint);
  expect(sts.calls).toEqual([]);
});
