/** The archive that `npm run package -- npm` made, installed by npm, compiled against, and run. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { type DevKms, startDevKms } from '../../src/dev-kms/index.ts';
import { systemClock } from '../../src/system-clock.ts';
import { TEST_ENVIRONMENT, writeKeys } from '../support/key-directory.ts';
import { TestedPackage } from '../support/tested-package.ts';

const ALIAS = 'alias/mariadb-encryption';
/** The directory and the Region of the documents' example. */
const [EXAMPLE_DIRECTORY, REGION] = ['/backup/2030-01-01', 'eu-central-1'];
const root = join(import.meta.dirname, '../..');
const tested = new TestedPackage('.tgz');
/** `MAK_NODES=22.0.0,22,24` also runs everything on these releases, which npm brings. */
const RELEASES = (process.env['MAK_NODES'] ?? '').split(',').filter((release) => release !== '');

/** It ends by itself, without `kms.close()`: the library keeps no process alive. */
const CONSUMER = `
import { createKms, keyCheckValue, KeyError, openKeyring, openKeyStore, type Keyring } from 'mariadb-aws-kms';

const [directory = '', endpointUrl = ''] = process.argv.slice(2);
const picture = () => JSON.stringify([process.env, process.eventNames()]);
const before = picture();
const store = openKeyStore(directory);
const { stored } = await store.list();
const kms = await createKms({ region: '${REGION}', endpointUrl });
using ring: Keyring = await openKeyring({ directory, kms });
const unwrapped: unknown[] = [];
for (const name of stored) {
  const { wrapped, sidecar } = await store.read(name);
  const { masterKeyArn, encryptionContext } = sidecar ?? {};
  using opened = await kms.decrypt({ wrapped, masterKeyArn, encryptionContext });
  const { keyCheckValue: held } = ring.get(name.keyId, name.keyVersion);
  unwrapped.push([sidecar?.keyCheckValue, keyCheckValue(opened.plaintext), held, opened.servedBy]);
}
const made = await kms.generateDataKeyWithoutPlaintext({ masterKeyId: '${ALIAS}', encryptionContext: { a: 'b' } });
const { state, arn } = await kms.describeKey('${ALIAS}');
const failed = await kms.decrypt({ wrapped: made.wrapped }).catch((error: unknown) => error);
console.log(JSON.stringify({
  stored, unwrapped, state, madeByIt: made.masterKeyArn === arn, latest: ring.get(1).keyVersion,
  failed: failed instanceof KeyError && [failed.code, failed.failure?.name], isSame: before === picture(),
}));
`;

let kms: DevKms;
let home: string;
let keys: string;
const nodes: (readonly [release: string, program: string])[] = [[process.versions.node, process.execPath]];

beforeAll(async () => {
  home = tested.scratch();
  keys = join(home, 'keys');
  mkdirSync(keys);
  kms = await startDevKms({ clock: systemClock, aliases: [ALIAS], region: REGION });
  await writeKeys(keys, kms, ALIAS, REGION);
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  install(home, tested.path);
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
});

function install(directory: string, name: string): void {
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  execFileSync('npm', ['install', ...quiet, '--prefix', directory, name], { cwd: directory, stdio: 'inherit' });
}

function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: home, ...TEST_ENVIRONMENT, AWS_ENDPOINT_URL_KMS: kms.url };
}

/** Compiles `NAME.ts` in the home of the consumer to `out/NAME.js`. */
function compile(name: string, module: string, moduleResolution: string): void {
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    target: 'es2022',
    lib: ['es2022'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    rootDir: '.',
    outDir: 'out',
    module,
    moduleResolution,
  };
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [`${name}.ts`] }));
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', home], { stdio: 'inherit' });
}

/** Not synchronously: the KMS is in this process. */
async function run(program: string, ...args: readonly string[]) {
  return await promisify(execFile)(program, args, { cwd: home, env: environment(), timeout: 60_000 });
}

it.each([
  ['publint', '--strict'],
  ['attw', '--profile', 'esm-only'],
])('%s finds nothing in the package', (tool, ...options) => {
  const said = execFileSync(join(root, 'node_modules/.bin', tool), [...options, tested.path], {
    encoding: 'utf8',
  });
  expect(said).toMatch(tool === 'publint' ? /All good!/ : /🟢/);
});

it('the package runs no script, and has no file but its modules, its declarations and its texts', () => {
  const place = join(home, 'node_modules/mariadb-aws-kms');
  const files = readdirSync(place, { recursive: true, encoding: 'utf8' });
  const strange = files.filter(
    (file) => !/^(?:bin|dist|types)(?:\/|$)|^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(file),
  );
  expect(strange).toEqual([]);
  const { version, engines, scripts, dependencies } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'));
  expect({ version, engines, scripts, dependencies }).toEqual({
    version: manifest.version,
    engines: { node: '>=22' },
    scripts: undefined,
    dependencies: manifest.dependencies,
  });
});

it('strict consumers compile, and the API answers as the agent did, on each release of Node.js', async () => {
  writeFileSync(join(home, 'consumer.ts'), CONSUMER);
  const values = ['1.1', '1.2', '2.1'].map(
    (name) => JSON.parse(readFileSync(join(keys, `aws-kms-key.${name}.json`), 'utf8')).keyCheckValue,
  );
  expect(new Set(values).size).toBe(3);
  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['node16', 'node16'],
    ['esnext', 'bundler'],
  ] as const) {
    rmSync(join(home, 'out'), { recursive: true, force: true });
    compile('consumer', module, moduleResolution);
    expect(readdirSync(join(home, 'out'))).toEqual(['consumer.js']);
  }
  for (const [release, node] of nodes) {
    const { stdout, stderr } = await run(node, join(home, 'out/consumer.js'), keys, kms.url);
    expect([JSON.parse(stdout), stderr], `Node.js ${release}`).toEqual([
      {
        stored: [
          { keyId: 1, keyVersion: 1 },
          { keyId: 1, keyVersion: 2 },
          { keyId: 2, keyVersion: 1 },
        ],
        unwrapped: values.map((value) => [value, value, value, REGION]),
        state: 'Enabled',
        madeByIt: true,
        latest: 2,
        failed: ['KMS_CORRUPT', 'InvalidCiphertextException'],
        isSame: true,
      },
      '',
    ]);
  }
});

it.each(['packaging/npm/README.md', 'docs/install.md'])('the example of %s compiles and runs', async (document) => {
  const [, example = ''] = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, document), 'utf8')) ?? [];
  expect(example).toContain(EXAMPLE_DIRECTORY);
  expect(example).toContain(REGION);
  writeFileSync(join(home, 'example.ts'), example.replaceAll(EXAMPLE_DIRECTORY, keys));
  compile('example', 'nodenext', 'nodenext');
  const { stdout, stderr } = await run(process.execPath, join(home, 'out/example.js'));
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^key 1 version 2: [0-9a-f]{16}$/m);
});

it('the command starts on each release of Node.js, and prints nothing about Node.js', async () => {
  const command = join(home, 'node_modules/.bin/mariadb-aws-kms');
  for (const [release, node] of nodes) {
    const { stdout, stderr } = await run(node, command, '--version');
    expect(stdout, release).toMatch(/^\S+ \([0-9a-f]{12}(?:-dirty)?\)\n$/);
    expect([stdout.split(' ')[0], stderr], release).toEqual([manifest.version, '']);
    expect((await run(node, command, 'doctor', '--help')).stdout, release).toContain('Usage: mariadb-aws-kms doctor');
    const child = spawn(node, [command, 'dev-kms'], { env: environment(), stdio: ['ignore', 'pipe', 'ignore'] });
    const exited = once(child, 'exit');
    try {
      const [line] = await once(createInterface(child.stdout), 'line');
      expect(line, release).toContain('127.0.0.1');
    } finally {
      child.kill('SIGTERM');
    }
    expect(await exited, release).toEqual([0, null]);
  }
});

it('npx starts the command by its first line', async () => {
  const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter);
  const { stdout, stderr } = await promisify(execFile)('npx', ['--offline', 'mariadb-aws-kms', '--version'], {
    cwd: home,
    env: { ...environment(), PATH },
    timeout: 60_000,
  });
  expect([stdout.startsWith(`${manifest.version} (`), stderr]).toEqual([true, '']);
});

it('the command verifies a backup with KMS', async () => {
  const command = join(home, 'node_modules/.bin/mariadb-aws-kms');
  const backup = join(home, 'backup');
  await run(command, 'backup-keys', '--keyfile-dir', keys, '--to', backup);
  const { stdout } = await run(command, 'verify-backup', backup, '--no-defaults', '--region', REGION);
  expect(stdout).toMatch(/3 key versions .*: all there and unchanged, and KMS opens each\n$/);
});

it('a failure of the command is told in a line, without a stack', async () => {
  const ended = await run(join(home, 'node_modules/.bin/mariadb-aws-kms'), 'verify-backup', '/nowhere').catch(
    (error: unknown) => error,
  );
  expect(ended).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^mariadb-aws-kms: error: .*\n/) });
  expect(String(Reflect.get(Object(ended), 'stderr'))).not.toContain('    at ');
});
