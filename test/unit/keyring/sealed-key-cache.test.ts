import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_REGION } from '../../../src/dev-kms/index.ts';
import { type FileSystem, nodeFileSystem } from '../../../src/disk/file-system.ts';
import type { EncryptionAlgorithm } from '../../../src/format/encryption-algorithm.ts';
import { maxKeyCacheBytes, parseKeyCache, sealKeyCache } from '../../../src/format/key-cache.ts';
import { KEY_CACHE_FILE, type KeyName, keyFileName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { Keyring, type LoadResult } from '../../../src/keyring/keyring.ts';
import type { Settings } from '../../../src/keyring/settings.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { rewrap } from '../../support/rewrapping.ts';
import { scratchDirectory } from '../../support/scratch.ts';
import { kmsError } from '../../support/scripted-kms.ts';
import { SecretSearch } from '../../support/secret-search.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';
import { type StoredHow, storeKey } from '../../support/stored-keys.ts';

const CACHE = `/keys/${KEY_CACHE_FILE}`;
const CACHE_PAIR = 'mariadb-aws-kms:key-cache';

interface Key {
  readonly algorithm: EncryptionAlgorithm;
  readonly dataKey: Buffer;
}

let clock: FakeClock;
let kms: EmbeddedClient;
let fs: MemoryFs;
/** Every key that was stored or made, by file name. */
let truth: Map<string, Key>;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a', 'alias/b']);
  fs = new MemoryFs();
  truth = new Map();
});

function name(id: number, version: number): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

/** Stores a key file as a server does. */
function store(id: number, version: number, how: StoredHow = {}): void {
  const key = name(id, version);
  const dataKey = storeKey(fs, kms, key, how);
  truth.set(keyFileName(key), { algorithm: how.algorithm ?? 'AES_CBC', dataKey });
}

function storeMany(ids: number, versions: number, how: StoredHow = {}): void {
  for (let id = 1; id <= ids; id += 1) for (let version = 1; version <= versions; version += 1) store(id, version, how);
}

/** An agent on the shared directory. */
class Agent {
  readonly keys = new Map<string, Key>();
  readonly handedOver: Uint8Array[] = [];
  readonly logged: string[] = [];
  readonly keyring: Keyring;
  settings: Settings;

  constructor(changes: Partial<Settings> = {}, role: 'server' | 'backup' = 'server', disk: FileSystem = fs) {
    this.settings = { ...TEST_SETTINGS, sealedKeyCache: true, ...changes };
    const observer = { attemptStarted: () => undefined, attemptEnded: () => undefined };
    this.keyring = new Keyring({
      role,
      unnamedHeld: 0,
      settings: () => this.settings,
      store: new KeyDirectory(this.settings.keyfileDir, disk, clock, Math.random),
      kms: new KmsCaller([kms.client], clock, () => 0.5, observer),
      clock,
      events: {
        announce: (key, _, algorithm, bytes) => {
          this.keys.set(keyFileName(key), { algorithm, dataKey: Buffer.from(bytes) });
          this.handedOver.push(bytes);
        },
        log: (severity, text) => this.logged.push(`${severity}: ${text}`),
        count: () => undefined,
      },
    });
  }

  async do<T>(action: (deadline: ReturnType<typeof startDeadline>) => Promise<T>): Promise<T> {
    const deadline = startDeadline(clock, 60_000);
    return await clock.runUntil(action(deadline).finally(() => deadline.cancel()));
  }

  load(): Promise<LoadResult> {
    return this.do((deadline) => this.keyring.loadAll(deadline));
  }

  async rotate(id: number): Promise<void> {
    const version = await this.do((deadline) => this.keyring.rotate(keyId(id), deadline));
    const file = keyFileName(name(id, version));
    const key = this.keys.get(file);
    if (key !== undefined) truth.set(file, key);
  }

  /** Waits until the cache is written. */
  async seal(): Promise<void> {
    if (this.keyring.sealing !== undefined) await clock.runUntil(this.keyring.sealing);
  }
}

/** Runs a start that writes the cache. */
async function sealed(changes: Partial<Settings> = {}): Promise<Agent> {
  const agent = new Agent(changes);
  await agent.load();
  await agent.seal();
  expect(fs.files.has(CACHE)).toBe(true);
  return agent;
}

function truthBytes(): [string, Buffer][] {
  return [...truth].map(([file, { dataKey }]) => [file, dataKey]);
}

function cache(): Buffer {
  return Buffer.from(fs.files.get(CACHE)?.bytes ?? []);
}

function putCache(bytes: Uint8Array): void {
  fs.files.set(CACHE, { bytes: Buffer.from(bytes), synced: true });
}

function calls(): string[] {
  return kms.calls
    .splice(0)
    .map(({ operation, context }) => `${operation}${context[CACHE_PAIR] === undefined ? '' : ' cache'}`);
}

/**
 * Runs a start that must load every key, whatever the state of the cache; returns its calls and its messages about the
 * cache.
 */
async function start(changes: Partial<Settings> = {}): Promise<{ calls: string[]; said: string[]; agent: Agent }> {
  const agent = new Agent(changes);
  calls();
  expect((await agent.load()).failures).toEqual([]);
  expect(agent.keys).toEqual(truth);
  expect(agent.handedOver.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
  return { calls: calls(), said: agent.logged.filter((line) => line.includes('key cache')), agent };
}

const LOADED_FROM_CACHE = /^note: loaded \d+ key versions from the sealed key cache$/;

function ordinary(count = truth.size): string[] {
  return Array.from({ length: count }, () => 'Decrypt');
}

describe('a sealed key cache', () => {
  it('is written after a complete load, with two calls, and opened by the next start with one', async () => {
    storeMany(3, 4);
    const first = new Agent();
    await first.load();
    expect(first.logged).toContain('note: there is no sealed key cache yet; unwrapping every key version alone');
    await first.seal();
    expect(calls()).toEqual([...ordinary(), 'GenerateDataKeyWithoutPlaintext cache', 'Decrypt cache']);
    expect(first.logged.at(-1)).toBe(`note: sealed 12 key versions into ${KEY_CACHE_FILE}`);
    const { calls: asked, said, agent } = await start();
    expect(asked).toEqual(['Decrypt cache']);
    expect(said).toEqual([expect.stringMatching(LOADED_FROM_CACHE)]);
    await agent.seal();
    expect(calls()).toEqual([]);
  });

  it('opens at a start with 500 key versions in no more calls', async () => {
    storeMany(50, 10);
    await sealed();
    expect((await start()).calls).toEqual(['Decrypt cache']);
  });

  it('is bound to the configured context and to a pair that no key file has', async () => {
    const encryptionContext = { cluster: 'orders' };
    storeMany(1, 2, { configured: encryptionContext });
    await sealed({ encryptionContext });
    kms.calls.splice(0);
    await new Agent({ encryptionContext }).load();
    expect(kms.calls.map(({ context }) => context)).toEqual([{ cluster: 'orders', [CACHE_PAIR]: 'sealed' }]);
  });

  it('has a new sealing key each time, and no plaintext byte of a data key', async () => {
    storeMany(2, 3);
    await sealed();
    const before = cache();
    fs.files.delete(CACHE);
    await sealed();
    const after = cache();
    const [one, two] = [before, after].map(parseKeyCache);
    expect(one?.header.wrappedSealingKey).not.toEqual(two?.header.wrappedSealingKey);
    const sealingKey = Buffer.from(
      kms.kms.decrypt({
        region: DEFAULT_REGION,
        ciphertextBlob: one?.header.wrappedSealingKey ?? Buffer.alloc(0),
        encryptionContext: { [CACHE_PAIR]: 'sealed' },
      }).plaintext,
    );
    expect(one?.open(sealingKey).bytes.length).toBe(6 * 34);
    const search = new SecretSearch([...truthBytes(), ['sealing key', sealingKey]]);
    for (const [path, { bytes }] of fs.files) expect(search.in(bytes), path).toEqual([]);
    expect(search.in(one?.open(sealingKey).bytes ?? '')).toHaveLength(truth.size);
  });

  it('contains the algorithm of each version', async () => {
    storeMany(1, 2);
    store(1, 3, { algorithm: 'AES_CTR' });
    const agent = await sealed();
    agent.settings = { ...agent.settings, encryptionAlgorithm: 'AES_CTR' };
    await agent.rotate(1);
    await agent.seal();
    expect((await start()).calls).toEqual(['Decrypt cache']);
    expect([...truth.values()].map(({ algorithm }) => algorithm)).toEqual(['AES_CBC', 'AES_CBC', 'AES_CTR', 'AES_CTR']);
  });

  it('is not used by a start without the setting, nor in mock mode', async () => {
    storeMany(2, 1);
    await sealed();
    expect((await start({ sealedKeyCache: false })).calls).toEqual(ordinary());
    const mock = new Agent({ mock: true });
    await mock.load();
    expect(mock.keyring.sealing).toBeUndefined();
    expect(calls()).toEqual(ordinary());
  });
});

describe('a changed sealed key cache', () => {
  beforeEach(async () => {
    storeMany(2, 2);
    await sealed();
  });

  async function expectFallBack(reason: RegExp, changes: Partial<Settings> = {}): Promise<string[]> {
    const { calls: asked, said } = await start(changes);
    expect(asked.filter((call) => call === 'Decrypt')).toEqual(ordinary());
    expect(said).toEqual([expect.stringMatching(reason)]);
    return asked;
  }

  it('is refused for any changed byte', async () => {
    const whole = cache();
    for (let at = 0; at < whole.length; at += 1) {
      const spoilt = Buffer.from(whole);
      spoilt.writeUInt8(spoilt.readUInt8(at) ^ (1 << (at % 8)), at);
      putCache(spoilt);
      await expectFallBack(/^warning: the sealed key cache aws-kms-sealed-key-cache is not used: .+; unwrapping every/);
    }
  });

  it('is refused wherever it was cut off, and with bytes appended', async () => {
    const whole = cache();
    for (let length = 0; length < whole.length; length += 1) {
      await expectKeyError(() => parseKeyCache(whole.subarray(0, length)), 'KEY_CACHE_UNUSABLE', /./);
    }
    putCache(whole.subarray(0, whole.length - 1));
    await expectFallBack(/is not used: expected \d+ bytes, got \d+;/);
    putCache(Buffer.concat([whole, Buffer.alloc(1)]));
    await expectFallBack(/is not used: expected \d+ bytes, got \d+;/);
    putCache(Buffer.alloc(0));
    await expectFallBack(/is not used: it is no key cache of this format;/);
    putCache(Buffer.from('{"keys":[]}'));
    await expectFallBack(/is not used: it is no key cache of this format;/);
  });

  it('is not read when it is too large for these keys', async () => {
    putCache(Buffer.alloc(maxKeyCacheBytes(4) + 1));
    fs.before = (call, path) => expect(`${call} ${path}`).not.toBe(`read ${CACHE}`);
    await expectFallBack(/is not used: expected at most \d+ bytes, got \d+;/);
  });

  it('is refused when a key file was changed', async () => {
    const other = fs.files.get('/keys/aws-kms-key.1.1');
    store(1, 1);
    expect(fs.files.get('/keys/aws-kms-key.1.1')).not.toEqual(other);
    const asked = await expectFallBack(/: key 1 version 1: aws-kms-key\.1\.1 is another than when it was written;/);
    expect(asked).toContain('Decrypt cache');
  });

  it('is refused when two key files were exchanged', async () => {
    for (const suffix of ['', '.json']) {
      const [a, b] = [`/keys/aws-kms-key.1.1${suffix}`, `/keys/aws-kms-key.2.1${suffix}`].map((path) =>
        fs.files.get(path),
      );
      if (a === undefined || b === undefined) throw new Error('no such files');
      fs.files.set(`/keys/aws-kms-key.1.1${suffix}`, b);
      fs.files.set(`/keys/aws-kms-key.2.1${suffix}`, a);
    }
    const agent = new Agent();
    const { failures } = await agent.load();
    expect(failures.map(({ error }) => error.code)).toEqual(['KEY_FILE_SWAPPED', 'KEY_FILE_SWAPPED']);
    expect([...agent.keys.keys()].sort()).toEqual(['aws-kms-key.1.2', 'aws-kms-key.2.2']);
  });

  it('is refused when a key file is gone, and the loss is reported as without a cache', async () => {
    fs.files.delete('/keys/aws-kms-key.2.1');
    truth.delete('aws-kms-key.2.1');
    const agent = new Agent();
    const { failures } = await agent.load();
    expect(failures.map(({ error }) => error.code)).toEqual(['KEY_FILE_MISSING']);
    expect(agent.keys).toEqual(truth);
    expect(agent.logged).toContainEqual(expect.stringMatching(/: key 2 version 1: aws-kms-key\.2\.1 cannot be read;/));
    fs.files.delete('/keys/aws-kms-key.2.1.json');
    await expectFallBack(/: key 2 version 1: aws-kms-key\.2\.1 cannot be read;/);
  });

  it('is refused when the keys were moved to another master key, and written again under that', async () => {
    expect((await rewrap({ fileSystem: fs, kms, clock })).moved).toHaveLength(4);
    const [old] = ['alias/a', 'alias/b'].map((alias) => kms.kms.ensureAlias(DEFAULT_REGION, alias));
    kms.kms.call(DEFAULT_REGION, { accessKeyId: '', denied: [] }, 'DisableKey', { KeyId: old });
    const { calls: asked, said, agent } = await start();
    expect(asked).toEqual(['Decrypt cache', ...ordinary()]);
    expect(said).toEqual([expect.stringMatching(/is not used: .*DisabledException/)]);
    await agent.seal();
    expect((await start()).calls).toEqual(['Decrypt cache']);
  });

  it('of another server is refused', async () => {
    const other = cache();
    fs.files.clear();
    truth.clear();
    storeMany(2, 2);
    putCache(other);
    await expectFallBack(/: key 1 version 1: aws-kms-key\.1\.1 is another than when it was written;/);
  });

  it('is refused under another configured master key or context, and written again for it', async () => {
    await expectFallBack(
      /: aws_key_management_master_key_id was "alias\/a" when it was written, now it is "alias\/b"; unwrapping/,
      { masterKeyId: 'alias/b' },
    );
    await expectFallBack(/: aws_key_management_encryption_context was another when it was written; unwrapping/, {
      encryptionContext: { cluster: 'orders' },
    });
    await sealed({ masterKeyId: 'alias/b' });
    expect((await start({ masterKeyId: 'alias/b' })).calls).toEqual(['Decrypt cache']);
  });

  it('is ignored when KMS refuses its key, or does not answer', async () => {
    kms.on = (_, context) => {
      if (context[CACHE_PAIR] !== undefined) throw kmsError('AccessDeniedException', 'explicit deny');
    };
    await expectFallBack(/sealed key cache: KMS Decrypt failed: AccessDeniedException: explicit deny/);
    kms.on = async (_, context) => {
      if (context[CACHE_PAIR] !== undefined) await new Promise(() => undefined);
    };
    await expectFallBack(/sealed key cache: KMS Decrypt did not succeed within 30 s: no answer came/);
  });

  it('does not outlive its master key', async () => {
    const [arn] = [parseKeyCache(cache()).header.masterKeyArn];
    kms.kms.call(DEFAULT_REGION, { accessKeyId: '', denied: [] }, 'DisableKey', { KeyId: arn });
    const agent = new Agent();
    const { failures } = await agent.load();
    expect(failures.map(({ error }) => error.code)).toEqual(Array.from({ length: 4 }, () => 'KMS_OPERATOR'));
    expect(agent.keys.size).toBe(0);
    await agent.seal();
  });

  it('restored after a rotation gives only the keys that it was made from', async () => {
    const old = cache();
    const server = new Agent();
    await server.load();
    await server.rotate(1);
    await server.seal();
    expect(cache()).not.toEqual(old);
    putCache(old);
    const { calls: asked, said } = await start();
    expect(asked).toEqual(['Decrypt cache', 'Decrypt']);
    expect(said).toEqual(['note: loaded 4 key versions from the sealed key cache; 1 more are unwrapped alone']);
  });

  it('whose key is a data key of this server is refused, and a sealing key is no data key', async () => {
    const { header, names, wrappedSha256 } = parseKeyCache(cache());
    const keys = names.map((key, index) => ({
      name: key,
      wrappedSha256: wrappedSha256(index),
      algorithm: 'AES_CBC' as const,
      dataKey: Buffer.alloc(16, 1),
    }));
    // A data key of 32 bytes that the forger has obtained.
    const request = { region: DEFAULT_REGION, keyId: 'alias/a', keySpec: 'AES_256', encryptionContext: {} } as const;
    const stolen = Buffer.from(kms.kms.generateDataKeyWithoutPlaintext(request).ciphertextBlob);
    const { plaintext } = kms.kms.decrypt({ region: DEFAULT_REGION, ciphertextBlob: stolen, encryptionContext: {} });
    putCache(sealKeyCache({ ...header, wrappedSealingKey: stolen }, keys, plaintext));
    await expectFallBack(/sealed key cache: KMS Decrypt failed: InvalidCiphertextException/);

    fs.files.set('/keys/aws-kms-key.9.1', { bytes: header.wrappedSealingKey, synced: true });
    const { failures } = await new Agent().load();
    expect(failures.map(({ error, name: { id } }) => `${id} ${error.code}`)).toEqual(['9 KMS_CORRUPT']);
  });
});

describe('a sealed key cache with several master keys', () => {
  it('holds the versions of one master key only: those of another open through that one alone', async () => {
    storeMany(2, 2);
    store(3, 1, { alias: 'alias/b' });
    store(3, 2, { alias: 'alias/b', sidecar: false });
    const first = await sealed();
    expect(first.logged.at(-1)).toBe(
      `note: sealed 4 key versions into ${KEY_CACHE_FILE}; 2 under other master keys are not in it`,
    );
    expect((await start()).calls).toEqual(['Decrypt cache', 'Decrypt', 'Decrypt']);
    const arn = kms.kms.ensureAlias(DEFAULT_REGION, 'alias/b');
    kms.kms.call(DEFAULT_REGION, { accessKeyId: '', denied: [] }, 'DisableKey', { KeyId: arn });
    const agent = new Agent();
    const { failures } = await agent.load();
    expect(failures.map(({ name: { id } }) => id)).toEqual([3, 3]);
    expect(agent.keys.size).toBe(4);
  });

  it('is not extended by keys created under another master key', async () => {
    storeMany(2, 2);
    const agent = await sealed();
    const before = cache();
    agent.settings = { ...agent.settings, masterKeyId: 'alias/b' };
    await agent.rotate(1);
    await agent.seal();
    expect(cache()).toEqual(before);
    expect((await start()).calls).toEqual(['Decrypt cache', 'Decrypt']);
  });
});

describe('new keys', () => {
  it('are added to the cache with three calls for a whole burst', async () => {
    storeMany(20, 1);
    await sealed();
    const agent = new Agent();
    await agent.load();
    calls();
    expect(await agent.do((deadline) => agent.keyring.rotateAll(deadline))).toBe(20);
    for (const [file, key] of agent.keys) truth.set(file, key);
    calls();
    await agent.seal();
    expect(calls()).toEqual(['Decrypt cache', 'GenerateDataKeyWithoutPlaintext cache', 'Decrypt cache']);
    expect((await start()).calls).toEqual(['Decrypt cache']);
  });

  it('of a new server create the cache', async () => {
    const agent = new Agent();
    await agent.load();
    await agent.do((deadline) => agent.keyring.open(keyId(1), true, deadline));
    await agent.seal();
    truth = agent.keys;
    expect((await start()).calls).toEqual(['Decrypt cache']);
  });

  it('created while the cache could not be written are added at the next start', async () => {
    storeMany(2, 2);
    await sealed();
    const other = new Agent({ sealedKeyCache: false });
    await other.rotate(2);
    const { calls: asked, agent } = await start();
    expect(asked).toEqual(['Decrypt cache', 'Decrypt']);
    await agent.seal();
    expect((await start()).calls).toEqual(['Decrypt cache']);
  });

  it('wait for the end of a burst, but not indefinitely', async () => {
    storeMany(1, 1);
    const agent = await sealed();
    const before = cache();
    for (let i = 0; i < 28; i += 1) {
      await agent.rotate(1);
      await clock.advance(900);
    }
    expect(cache()).toEqual(before);
    for (let i = 0; i < 10; i += 1) {
      await agent.rotate(1);
      await clock.advance(900);
    }
    expect(cache()).not.toEqual(before);
    await agent.seal();
    expect((await start()).calls).toEqual(['Decrypt cache']);
  });
});

describe('writing the sealed key cache', () => {
  it('is left to complete loads and to servers', async () => {
    storeMany(2, 2);
    const bytes = fs.files.get('/keys/aws-kms-key.1.1');
    if (bytes === undefined) throw new Error('no such file');
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: Buffer.from('damaged'), synced: true });
    const incomplete = new Agent();
    expect((await incomplete.load()).failures).toHaveLength(1);
    expect(incomplete.keyring.sealing).toBeUndefined();
    fs.files.set('/keys/aws-kms-key.1.1', bytes);
    const backup = new Agent({}, 'backup');
    await backup.load();
    expect(backup.keyring.sealing).toBeUndefined();
    expect(fs.files.has(CACHE)).toBe(false);
  });

  it('is not done by a backup, which opens it', async () => {
    storeMany(2, 2);
    await sealed();
    calls();
    const backup = new Agent({}, 'backup');
    await backup.load();
    expect(backup.keys).toEqual(truth);
    expect(calls()).toEqual(['Decrypt cache']);
  });

  it.each(['open', 'write', 'fsync', 'rename', 'fsync-directory'])('loses nothing when %s fails', async (failing) => {
    storeMany(2, 2);
    const agent = new Agent();
    await agent.load();
    let hasFailed = false;
    fs.before = (call, path) => {
      if (call !== failing || (!path.includes('.aws-kms-tmp-') && !['rename', 'fsync-directory'].includes(call)))
        return;
      hasFailed = true;
      throw systemError('ENOSPC');
    };
    await agent.seal();
    expect(hasFailed).toBe(true);
    fs.before = () => undefined;
    expect(agent.logged.at(-1)).toMatch(
      /^warning: the sealed key cache was not written: cannot (store|sync) .*ENOSPC.*; the keys are safe in their files$/,
    );
    expect([...fs.files.keys()].filter((path) => path.includes('tmp'))).toEqual([]);
    await start();
  });

  it('loses nothing when KMS refuses', async () => {
    storeMany(1, 2);
    kms.on = (operation) => {
      if (operation === 'GenerateDataKeyWithoutPlaintext') throw kmsError('AccessDeniedException', 'no');
    };
    const agent = new Agent();
    await agent.load();
    await agent.seal();
    expect(agent.logged.at(-1)).toMatch(/^warning: the sealed key cache was not written: .*AccessDeniedException: no/);
    expect(fs.files.has(CACHE)).toBe(false);
  });

  it('leaves the old cache, the new one, or none after a power loss at any step', async () => {
    storeMany(2, 2);
    await sealed();
    fs.durable = new Map(fs.files);
    const disk = fs;
    const agent = new Agent();
    await agent.load();
    await agent.rotate(1);
    const left: MemoryFs[] = [];
    disk.before = () => left.push(disk.afterPowerLoss());
    await agent.seal();
    disk.before = () => undefined;
    left.push(disk.afterPowerLoss());
    expect(left.length).toBeGreaterThan(10);
    for (const after of left) {
      fs = after;
      const { calls: asked } = await start();
      expect([['Decrypt cache'], ['Decrypt cache', 'Decrypt']]).toContainEqual(asked);
    }
  });

  it('ends with the agent, and leaves nothing behind', async () => {
    storeMany(2, 2);
    for (const call of ['open', 'write', 'fsync']) {
      const agent = new Agent();
      await agent.load();
      fs.before = (seen, path) => {
        if (seen === call && path.includes('.aws-kms-tmp-')) agent.keyring.close();
      };
      await agent.seal();
      fs.before = () => undefined;
      expect([...fs.files.keys()].filter((path) => path.includes('tmp'))).toEqual([]);
    }
    const waiting = new Agent();
    await waiting.load();
    waiting.keyring.close();
    fs.files.delete(CACHE);
    await waiting.seal();
    expect(fs.files.has(CACHE)).toBe(false);
  });
});

describe('a sealed key cache on a real file system', () => {
  it('has mode 0600, and other files in its place do not block a start', async () => {
    storeMany(1, 2);
    const keyfileDir = scratchDirectory();
    for (const [path, { bytes }] of fs.files) writeFileSync(path.replace('/keys', keyfileDir), bytes);
    const path = join(keyfileDir, KEY_CACHE_FILE);
    const settled = async (): Promise<string[]> => {
      const agent = new Agent({ keyfileDir }, 'server', nodeFileSystem);
      const deadline = startDeadline(clock, 60_000);
      expect((await agent.keyring.loadAll(deadline)).failures).toEqual([]);
      expect(agent.keys).toEqual(truth);
      const { sealing } = agent.keyring;
      await clock.advance(2_000);
      await sealing;
      return agent.logged.filter((line) => line.includes('key cache'));
    };
    await settled();
    expect((statSync(path).mode & 0o7777).toString(8)).toBe('600');
    expect(await settled()).toEqual([expect.stringMatching(LOADED_FROM_CACHE)]);
    // A symbolic link to the cache is followed, like those of key files.
    renameSync(path, join(keyfileDir, 'elsewhere'));
    symlinkSync('elsewhere', path);
    expect(await settled()).toEqual([expect.stringMatching(LOADED_FROM_CACHE)]);
    renameSync(path, join(keyfileDir, 'link'));
    execFileSync('mkfifo', [path]);
    expect((await settled())[0]).toMatch(/is not used: it is not a regular file; unwrapping/);
    expect(statSync(path).isFile()).toBe(true);
    renameSync(path, join(keyfileDir, 'again'));
    mkdirSync(path);
    writeFileSync(join(path, 'file'), randomBytes(8));
    const [open, write] = await settled();
    expect(open).toMatch(/is not used: it is not a regular file; unwrapping/);
    expect(write).toMatch(/^warning: the sealed key cache was not written: .*(EISDIR|ENOTEMPTY|EEXIST)/);
    expect(readFileSync(join(path, 'file'))).toHaveLength(8);
    // A FIFO in place of a key file does not block, either.
    renameSync(join(keyfileDir, 'aws-kms-key.1.1'), join(keyfileDir, 'key'));
    renameSync(path, join(keyfileDir, 'directory'));
    renameSync(join(keyfileDir, 'again'), path);
    execFileSync('mkfifo', [join(keyfileDir, 'aws-kms-key.1.1')]);
    const agent = new Agent({ keyfileDir }, 'server', nodeFileSystem);
    const { failures } = await agent.keyring.loadAll(startDeadline(clock, 60_000));
    expect(failures.map(({ error }) => error.code)).toEqual(['KEY_FILE_CORRUPT']);
  });
});
