import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { packNpm } from '../../scripts/package/npm.ts';
import { readSource } from '../../scripts/source.ts';
import { type DevKms, startDevKms, TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { nodeFileSystem } from '../../src/disk/file-system.ts';
import { keyId } from '../../src/ids.ts';
import { openKeyring } from '../../src/keyring/open-keyring.ts';
import { parseSettings } from '../../src/keyring/settings.ts';
import { createAwsKmsClient } from '../../src/kms/aws/client.ts';
import { startDeadline } from '../../src/kms/retry.ts';
import { Secrets } from '../../src/secrets.ts';
import { systemClock, systemRandom } from '../../src/system-clock.ts';

const ALIAS = 'alias/npm';
const root = join(import.meta.dirname, '../..');
/** `MAK_NODES=22.0.0,22,24` also runs everything on these releases, which npm brings. */
const RELEASES = (process.env['MAK_NODES'] ?? '').split(',').filter((release) => release !== '');

const CONSUMER = `
import { createKms, keyCheckValue, KeyError, openKeyring, openKeyStore, type Keyring } from 'mariadb-aws-kms';

const [directory = '', endpointUrl = ''] = process.argv.slice(2);
const before = JSON.stringify([process.env, process.eventNames()]);
const store = openKeyStore(directory);
const { stored, lost, strays } = await store.list();
const kms = await createKms({ region: 'us-east-1', endpointUrl });
const lines: string[] = [];
const ring: Keyring = await openKeyring({ directory, kms, log: (severity, text) => lines.push(severity + ' ' + text) });
const unwrapped = [];
for (const name of stored) {
  const { wrapped, sidecar } = await store.read(name);
  const { masterKeyArn, encryptionContext } = sidecar ?? {};
  const { plaintext, servedBy } = await kms.decrypt({ wrapped, masterKeyArn, encryptionContext });
  unwrapped.push([sidecar?.keyCheckValue, keyCheckValue(plaintext), ring.get(name.keyId, name.keyVersion).keyCheckValue, servedBy]);
}
const latest = ring.get(1);
const made = await kms.generateDataKeyWithoutPlaintext({ masterKeyId: '${ALIAS}', encryptionContext: { a: 'b' } });
const { state, arn } = await kms.describeKey('${ALIAS}');
const codes: unknown[] = [];
const refused = async (work: () => unknown) => {
  try {
    await work();
    codes.push('no error');
  } catch (error) {
    codes.push(error instanceof KeyError ? [error.code, error.failure?.name, error.cause === undefined] : String(error));
  }
};
await refused(() => kms.decrypt({ wrapped: made.wrapped }));
await refused(() => kms.describeKey('alias/none'));
await refused(() => openKeyStore('/nowhere').list());
await refused(() => store.read({ keyId: 0, keyVersion: 1 }));
await refused(() => store.read({ keyId: 9, keyVersion: 1 }));
await refused(() => ring.get(9));
await refused(() => createKms({ region: 'nowhere' }));
await refused(() => kms.describeKey('${ALIAS}', { signal: AbortSignal.abort(new Error('mine')) }));
ring.wipe();
const isSame = before === JSON.stringify([process.env, process.eventNames()]);
console.log(JSON.stringify({ stored, lost, strays, unwrapped, latest: [latest.keyVersion, latest.encryptionAlgorithm, latest.bytes.every((byte) => byte === 0)],
  made: made.masterKeyArn === arn, state, codes, isSame, lines: lines.length }));
// Neither kms.close() nor process.exit(): the process ends by itself.
`;

let kms: DevKms;
let home: string;
let keys: string;
const nodes: (readonly [release: string, program: string])[] = [[process.versions.node, process.execPath]];

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'mak-npm-'));
  keys = join(home, 'keys');
  mkdirSync(keys);
  kms = await startDevKms({ clock: systemClock, aliases: [ALIAS] });
  await makeKeys();
  const { version, commit, epoch } = readSource();
  await packNpm({ root, build: home, out: home, version, commit, epoch, isFast: false });
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  writeFileSync(join(home, 'consumer.ts'), CONSUMER);
  install(home, `./mariadb-aws-kms-${version}.tgz`);
  for (const release of RELEASES) {
    const place = join(home, `node-${release}`);
    mkdirSync(place);
    const name = `node-linux-${process.arch}`;
    install(place, `${name}@${release}`);
    nodes.push([release, join(place, 'node_modules', name, 'bin/node')]);
  }
}, 600_000);

afterAll(async () => {
  await kms?.close();
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
});

function install(directory: string, name: string): void {
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  execFileSync('npm', ['install', '--prefix', directory, ...quiet, name], { cwd: directory, stdio: 'inherit' });
}

/** A directory as the agent writes it: key 1 with two versions, key 2 with one. */
async function makeKeys(): Promise<void> {
  const [environment, secrets] = [environmentOfConsumer(), new Secrets()];
  const settings = parseSettings(
    new Map([
      ['keyfile_dir', keys],
      ['master_key_id', ALIAS],
      ['endpoint_url', kms.url],
      ['region', 'us-east-1'],
      ['encryption_context', 'cluster=orders'],
      ['encryption_algorithm', 'AES_CTR'],
    ]),
  );
  const silent = () => undefined;
  const ring = await openKeyring(
    {
      clock: systemClock,
      random: systemRandom,
      fileSystem: nodeFileSystem,
      connectKms: async (chosen) => [
        await createAwsKmsClient(chosen, {
          proxyEnvironment: {},
          environment,
          trustedCertificates: undefined,
          clock: systemClock,
          secrets,
        }),
      ],
    },
    {
      role: 'server',
      unnamedHeld: 0,
      settings,
      asksForMissing: false,
      events: { announce: silent, log: silent, count: silent, missing: silent },
    },
  );
  const deadline = startDeadline(systemClock, 60_000);
  await ring.open(keyId(1), true, deadline);
  await ring.open(keyId(2), true, deadline);
  await ring.keyring.rotate(keyId(1), deadline);
  deadline.cancel();
  ring.stop();
  await ring.close();
}

function environmentOfConsumer(): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    HOME: home,
    AWS_ACCESS_KEY_ID: TEST_ACCESS_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: TEST_ACCESS_KEY.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
}

it.each([
  ['nodenext', 'nodenext'],
  ['node16', 'node16'],
  ['esnext', 'bundler'],
])('a strict consumer compiles with module %s and moduleResolution %s', (module, moduleResolution) => {
  const config = {
    compilerOptions: {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      target: 'es2022',
      lib: ['es2024'],
      skipLibCheck: false,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      outDir: 'out',
      module,
      moduleResolution,
    },
    files: ['consumer.ts'],
  };
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify(config));
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', home], { stdio: 'inherit' });
  expect(readdirSync(join(home, 'out'))).toEqual(['consumer.js']);
});

it('the API opens a key directory and answers as the agent did, on each release of Node.js', async () => {
  for (const [release, node] of nodes) {
    // Not synchronously: the KMS is in this process.
    const { stdout } = await promisify(execFile)(node, [join(home, 'out/consumer.js'), keys, kms.url], {
      env: environmentOfConsumer(),
      timeout: 30_000,
    });
    const seen = JSON.parse(stdout);
    const values = ['1.1', '1.2', '2.1'].map(
      (name) => JSON.parse(readFileSync(join(keys, `aws-kms-key.${name}.json`), 'utf8')).keyCheckValue,
    );
    expect(new Set(values).size).toBe(3);
    expect(seen, `Node.js ${release}`).toEqual({
      stored: [
        { keyId: 1, keyVersion: 1 },
        { keyId: 1, keyVersion: 2 },
        { keyId: 2, keyVersion: 1 },
      ],
      lost: [],
      strays: [],
      unwrapped: values.map((value) => [value, value, value, 'us-east-1']),
      latest: [2, 'AES_CTR', true],
      made: true,
      state: 'Enabled',
      codes: [
        ['KMS_CORRUPT', 'InvalidCiphertextException', true],
        ['KMS_OPERATOR', 'NotFoundException', true],
        ['STORE_UNAVAILABLE', null, true],
        ['BAD_OPTION', null, true],
        ['KEY_UNKNOWN', null, true],
        ['KEY_UNKNOWN', null, true],
        ['BAD_OPTION', null, true],
        'Error: mine',
      ],
      isSame: true,
      lines: 3,
    });
  }
});

it('the command starts on each release of Node.js', async () => {
  const command = join(home, 'node_modules/.bin/mariadb-aws-kms');
  for (const [release, node] of nodes) {
    const run = (...args: readonly string[]) =>
      execFileSync(node, [command, ...args], { encoding: 'utf8', env: environmentOfConsumer(), timeout: 30_000 });
    expect(run('--version'), release).toBe(`${manifest.version} (${readSource().commit})\n`);
    expect(run('doctor', '--help'), release).toContain('Usage: mariadb-aws-kms doctor');
    const child = spawn(node, [command, 'dev-kms', '--port', '0'], {
      env: environmentOfConsumer(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const [line] = await once(createInterface(child.stdout), 'line');
    expect(line, release).toContain('127.0.0.1');
    child.kill('SIGTERM');
    await exited;
  }
});
