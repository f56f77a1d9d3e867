import { existsSync, readFileSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions, type ScratchServer, type ServerOptions } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { KEY_CACHE_FILE, parseFileName, TEMPORARY_PREFIX } from '../../src/format/key-file-name.ts';
import { agentsOf, keyFiles, newServer, operations, startKms } from '../support/lab.ts';
import { backUp, prepare } from '../support/mariadb-backup.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';
import { SecretSearch } from '../support/secret-search.ts';

const ON: ServerOptions = { aws_key_management_sealed_key_cache: 'ON' };

function cacheOf(server: ScratchServer): string {
  return join(server.datadir, KEY_CACHE_FILE);
}

/** A server with two tables under keys 3 and 4, several versions of each, and a cache of all of them. */
async function serverWithCache(kms: DevKms): Promise<ScratchServer> {
  const server = newServer(pluginOptions(kms.url, ON));
  await server.start();
  await server.sql('CREATE DATABASE d');
  for (const id of [3, 4]) {
    await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
    await server.sql(`INSERT INTO d.t${id} VALUES (${id})`);
  }
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  await ringIsWhole(server);
  return server;
}

/** Waits until the log says that the cache holds every version. */
async function ringIsWhole(server: ScratchServer): Promise<void> {
  const versions = keyFiles(server.datadir).filter((file) => parseFileName(file).kind === 'wrapped-key').length;
  const whole = new RegExp(`(?:sealed|loaded) ${versions} key versions (?:into|from)`);
  await until('the cache is whole', () => whole.test(server.log));
}

async function expectData(server: ScratchServer): Promise<void> {
  for (const id of [3, 4]) expect(await server.sql(`SELECT i FROM d.t${id}`)).toEqual([{ i: id }]);
}

/** Every data key of the server, as KMS opens its file. */
function dataKeys(server: ScratchServer, kms: DevKms): [string, Uint8Array][] {
  return keyFiles(server.datadir)
    .filter((file) => parseFileName(file).kind === 'wrapped-key')
    .map((file) => {
      const ciphertextBlob = readFileSync(join(server.datadir, file));
      return [file, kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext];
    });
}

it('the sealed key cache opens every key with one KMS call at a start, holds no key in the clear, and is in no backup', async () => {
  const kms = await startKms();
  const server = await serverWithCache(kms);
  const keys = dataKeys(server, kms);
  expect(keys.length).toBeGreaterThan(3);
  kms.calls.clear();
  await server.restart();
  expect(operations(kms)).toEqual(['Decrypt']);
  expect(await server.variable('STATUS', 'Aws_key_management_versions_loaded')).toBe(String(keys.length));
  expect(server.log).toMatch(new RegExp(`loaded ${keys.length} key versions from the sealed key cache`));
  await expectData(server);
  const { mode, uid } = statSync(cacheOf(server));
  expect((mode & 0o7777).toString(8)).toBe('600');
  expect(uid).toBe(statSync(join(server.datadir, 'aws-kms-key.3.1')).uid);

  kms.calls.clear();
  const target = join(scratchDirectory(), 'backup');
  expect(await backUp(server, target)).toMatch(/completed OK!/);
  expect(operations(kms)).toEqual(['Decrypt']);
  expect(existsSync(join(target, KEY_CACHE_FILE))).toBe(false);
  expect(await prepare(target)).toMatch(/completed OK!/);
  expect(existsSync(join(target, KEY_CACHE_FILE))).toBe(false);

  const before = statSync(cacheOf(server)).ino;
  kms.calls.clear();
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  await until('the cache has the new version', () => statSync(cacheOf(server)).ino !== before);
  expect(operations(kms)).toEqual([
    ...['GenerateDataKeyWithoutPlaintext', 'Decrypt'],
    ...['Decrypt', 'GenerateDataKeyWithoutPlaintext', 'Decrypt'],
  ]);
  await server.stop();
  expect(new SecretSearch(dataKeys(server, kms)).inFiles(server.directory)).toEqual([]);
  kms.calls.clear();
  await server.start();
  expect(operations(kms)).toEqual(['Decrypt']);
  await expectData(server);
});

it('a separate agent writes the sealed key cache too, and a start without it works as usual', async () => {
  const kms = await startKms();
  const server = await serverWithCache(kms);
  await until('the agent has ended', async () => (await agentsOf(server)).length === 0, 30);
  const before = statSync(cacheOf(server)).ino;
  await server.sql('SET GLOBAL aws_key_management_rotate_key=4');
  await until('the cache has the new version', () => statSync(cacheOf(server)).ino !== before);
  await server.stop();
  server.options = { ...server.options, aws_key_management_sealed_key_cache: 'OFF' };
  const after = statSync(cacheOf(server)).ino;
  kms.calls.clear();
  await server.start();
  expect(operations(kms)).toEqual(dataKeys(server, kms).map(() => 'Decrypt'));
  await expectData(server);
  expect(statSync(cacheOf(server)).ino).toBe(after);
});

it('killing the agent while it writes the sealed key cache loses nothing', async () => {
  const kms = await startKms();
  const server = await serverWithCache(kms);
  for (let kill = 0; kill < 4; kill += 1) {
    const [agent] = await agentsOf(server);
    const killed = Promise.withResolvers<void>();
    const watcher = watch(server.datadir, (_, file) => {
      // First comes the temporary file of the key, then those of its sidecar and of the cache.
      if (agent === undefined || !file?.startsWith(TEMPORARY_PREFIX) || !isRotated) return;
      process.kill(agent, 'SIGKILL');
      killed.resolve();
      watcher.close();
    });
    cleanUp(() => watcher.close());
    let isRotated = false;
    await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
    isRotated = true;
    await killed.promise;
    await server.restart();
    await expectData(server);
    const versions = await server.variable('STATUS', 'Aws_key_management_key_3_latest_version');
    expect(versions).toBe(String(kill + 3));
    await ringIsWhole(server);
  }
  expect(server.log).not.toMatch(/\[ERROR\].*AWS KMS/);
});
