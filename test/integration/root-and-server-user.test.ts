/** Root's commands with AWS configuration that the server's user wrote. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { COMMAND, PATH, PLUGIN_DIRECTORY, pluginOptions } from '../../harness/scratch-server.ts';
import { TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { startIdentitySts } from '../support/identity-sts.ts';
import { startKms } from '../support/lab.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

const USER = 'nobody';
const NO_METADATA = { AWS_EC2_METADATA_DISABLED: 'true' };
let home: string;

beforeEach(() => {
  if (process.getuid?.() !== 0) throw new Error('only root can act as another user: run these tests as root');
  home = scratchDirectory();
  chmodSync(home, 0o777);
});

/** Doctor as root, of a server that runs as that user. */
async function doctor(variables: Readonly<Record<string, string>>, asUser: readonly string[] = []): Promise<string> {
  const kms = await startKms();
  const { url: sts } = await startIdentitySts();
  const datadir = join(home, 'data');
  mkdirSync(datadir, { recursive: true });
  execFileSync('chown', [`${USER}:`, datadir]);
  const options = { ...pluginOptions(kms.url), datadir, plugin_dir: PLUGIN_DIRECTORY, user: USER };
  const lines = Object.entries(options).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(join(home, 'my.cnf'), ['[mariadb]', ...lines, ''].join('\n'));
  const env = { PATH, HOME: '/root', ...variables };
  const args = ['doctor', `--defaults-file=${join(home, 'my.cnf')}`, '--sts-endpoint-url', sts];
  const [program = '', ...rest] = [...asUser, COMMAND, ...args];
  return await new Promise((resolve) => {
    execFile(program, rest, { env, encoding: 'utf8', timeout: 100_000 }, (_, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
}

/** A profile whose credentials come from a program, which records its rights and environment. */
function putProfile(): string {
  const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;
  const answer = { Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey };
  writeFileSync(join(home, 'answer'), JSON.stringify(answer), { mode: 0o644 });
  writeFileSync(
    join(home, 'process'),
    `#!/bin/sh\nid -ru > ${home}/who\nid -G > ${home}/groups\nenv > ${home}/environment\ncat ${home}/answer\n`,
    { mode: 0o755 },
  );
  const config = join(home, 'config');
  writeFileSync(config, `[default]\ncredential_process = ${home}/process\n`);
  chmodSync(config, 0o644);
  chmodSync(join(home, 'process'), 0o755);
  chmodSync(join(home, 'answer'), 0o644);
  execFileSync('chown', [`${USER}:`, config]);
  return config;
}

it("a program that the server's profile names runs with the rights of the server's user only", async () => {
  const config = putProfile();
  const output = await doctor({ ...NO_METADATA, AWS_CONFIG_FILE: config, ROOTS_OWN: 'secret' });
  expect(output).toMatch(/ok\s+credentials: .*credential_process of a profile/);
  expect(output).toMatch(/ok\s+permissions: may Decrypt/);
  const uid = execFileSync('id', ['-u', USER], { encoding: 'utf8' });
  expect(readFileSync(join(home, 'who'), 'utf8')).toBe(uid);
  expect(readFileSync(join(home, 'groups'), 'utf8').split(/\s+/)).not.toContain('0');
  expect(readFileSync(join(home, 'environment'), 'utf8')).not.toContain('ROOTS_OWN');
});

it('a token that only root may read is not sent to the endpoint of the server’s user', async () => {
  const token = join(home, 'token');
  writeFileSync(token, 'only root may read this', { mode: 0o600 });
  const config = join(home, 'config');
  writeFileSync(
    config,
    `[default]\nregion = us-east-1\nrole_arn = arn:aws:iam::111122223333:role/x\nweb_identity_token_file = ${token}\n`,
  );
  chmodSync(config, 0o644);
  const output = await doctor({ ...NO_METADATA, AWS_CONFIG_FILE: config });
  expect(output).toMatch(/failure\s+credentials: /);
  expect(output).toContain('EACCES');
});

it('root with credentials of its own reads no configuration of another user', async () => {
  const config = putProfile();
  const { accessKeyId: id, secretAccessKey: secret } = TEST_ACCESS_KEY;
  const output = await doctor({ AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_CONFIG_FILE: config });
  expect(output).toMatch(/user \d+ may change \S+config: root takes no AWS configuration from there/);
  expect(existsSync(join(home, 'who'))).toBe(false);
  // Follows the printed advice.
  const asUser = await doctor({ ...NO_METADATA, AWS_CONFIG_FILE: config }, ['runuser', '-u', USER, '--']);
  expect(asUser).toMatch(/ok\s+credentials: .*credential_process of a profile/);
});

it.each([
  ['the owner of the data directory', USER, true],
  ['another user', 'daemon', false],
])(
  'root believes a process named like the server only if the owner of the data directory runs it (%s: %s, %s)',
  async (_, user, isBelieved) => {
    const config = putProfile();
    const datadir = join(home, 'data');
    mkdirSync(datadir);
    const program = join(home, 'mariadbd');
    copyFileSync('/bin/sleep', program);
    chmodSync(program, 0o755);
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' })));
    const env = { ...NO_METADATA, AWS_CONFIG_FILE: config, HTTPS_PROXY: 'http://127.0.0.1:1' };
    const server = spawn(program, ['600'], { cwd: datadir, env, uid: uid ?? -1, gid: gid ?? -1, stdio: 'ignore' });
    cleanUp(() => void server.kill('SIGKILL'));
    const output = await doctor({});
    expect(existsSync(join(home, 'who'))).toBe(isBelieved);
    expect(output.includes(`the running server (process ${server.pid}) has HTTPS_PROXY`)).toBe(isBelieved);
  },
);
