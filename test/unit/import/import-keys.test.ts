import { beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_REGION } from '../../../src/dev-kms/index.ts';
import type { EncryptionAlgorithm } from '../../../src/format/encryption-algorithm.ts';
import { keyFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { parseSidecar } from '../../../src/format/sidecar.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { type ImportResult, importKeys } from '../../../src/import/import-keys.ts';
import type { ForeignKey } from '../../../src/import/imported-key.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KEYS_FOR_CALLER } from '../../../src/keystore/failures.ts';
import { retireFiles } from '../../../src/keystore/retired.ts';
import { OperatorCaller } from '../../../src/kms/operator-caller.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { kmsError } from '../../support/scripted-kms.ts';
import { storeKey } from '../../support/stored-keys.ts';

let clock: FakeClock;
let kms: EmbeddedClient;
let fs: MemoryFs;
let interrupted: AbortController;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a']);
  fs = new MemoryFs();
  interrupted = new AbortController();
});

function key(id: number, version = 1, bytes = Buffer.alloc(16, id)): ForeignKey {
  return { id: keyId(id), version: keyVersion(version), bytes };
}

const KEYS = [key(1), key(2, 1, Buffer.alloc(24, 2)), key(3, 1, Buffer.alloc(32, 3))];

interface How {
  readonly keys?: readonly ForeignKey[];
  readonly algorithm?: EncryptionAlgorithm;
  readonly context?: Readonly<Record<string, string>>;
  readonly isDryRun?: boolean;
}

async function bring({
  keys = KEYS,
  algorithm = 'AES_CBC',
  context = {},
  isDryRun = false,
}: How = {}): Promise<ImportResult> {
  const store = new KeyDirectory('/keys', fs, clock, Math.random, KEYS_FOR_CALLER);
  const request = { store, keys, algorithm, masterKeyId: 'alias/a', context, isDryRun, signal: interrupted.signal };
  const parts = {
    kms: new OperatorCaller(kms.client, { clock, random: () => 0.5 }),
    clock,
    progress: () => undefined,
  };
  return await clock.runUntil(importKeys(request, parts));
}

function filesOf(): readonly string[] {
  return [...fs.files.keys()].map((path) => path.replace('/keys/', '')).sort();
}

function sidecarOf({ id, version }: ForeignKey) {
  const name = { id, version };
  return parseSidecar(name, fs.files.get(`/keys/${sidecarFileName(name)}`)?.bytes.toString() ?? '');
}

function wrappedOf({ id, version }: ForeignKey): Buffer {
  return fs.files.get(`/keys/${keyFileName({ id, version })}`)?.bytes ?? Buffer.alloc(0);
}

describe('an import', () => {
  it('stores each key with a sidecar, and KMS opens the files under their contexts', async () => {
    const result = await bring({ algorithm: 'AES_CTR', context: { cluster: 'orders' } });
    expect(result).toMatchObject({ imported: { length: 3 }, already: [], problems: [], untried: [] });
    for (const [index, spec] of ['AES_128', 'AES_192', 'AES_256'].entries()) {
      const one = KEYS[index] ?? key(1);
      const sidecar = sidecarOf(one);
      expect(sidecar).toMatchObject({
        keySpec: spec,
        requestId: 'encrypt',
        encryptionContext: {
          cluster: 'orders',
          'mariadb-aws-kms:key-id': String(one.id),
          'mariadb-aws-kms:key-version': '1',
          'mariadb-aws-kms:encryption-algorithm': 'AES_CTR',
        },
      });
      const { encryptionContext, masterKeyArn: keyId } = sidecar;
      const request = { region: DEFAULT_REGION, ciphertextBlob: wrappedOf(one), keyId, encryptionContext };
      expect(Buffer.from(kms.kms.decrypt(request).plaintext).equals(one.bytes)).toBe(true);
    }
    expect(fs.afterPowerLoss().files.size).toBe(6);
  });

  it('is continued by the next run after KMS refused in the middle', async () => {
    let calls = 0;
    kms.on = (operation) => {
      calls += operation === 'Encrypt' ? 1 : 0;
      if (operation === 'Encrypt' && calls > 6) throw kmsError('DisabledException', 'the key is disabled.');
    };
    const keys = Array.from({ length: 40 }, (_, index) => key(index + 1));
    const first = await bring({ keys });
    expect(first.imported.length).toBeGreaterThan(0);
    expect(first.problems[0]?.message).toMatch(
      /^key \d+ version 1 \(master key alias\/a\): KMS \w+ failed: DisabledException/,
    );
    expect(first.imported.length + first.problems.length + first.untried.length).toBe(40);
    expect(first.untried.length).toBeGreaterThan(0);
    expect(filesOf()).toHaveLength(2 * first.imported.length);
    kms.on = () => undefined;
    const second = await bring({ keys });
    expect(second).toMatchObject({ already: first.imported, problems: [], untried: [] });
    expect(filesOf()).toHaveLength(80);
  });

  it('is continued by the next run after an interruption, which leaves whole files', async () => {
    kms.on = (operation) => {
      if (operation === 'Decrypt') interrupted.abort(new Error('interrupted'));
    };
    const first = await bring();
    expect(first.imported.length + first.untried.length).toBe(3);
    expect(first).toMatchObject({ problems: [] });
    expect(filesOf()).toHaveLength(2 * first.imported.length);
    kms.on = () => undefined;
    interrupted = new AbortController();
    expect(await bring()).toMatchObject({ problems: [], untried: [] });
    expect(filesOf()).toHaveLength(6);
  });

  it('adds the sidecar that an interrupted run has not stored', async () => {
    await bring();
    const text = sidecarOf(KEYS[1] ?? key(2));
    fs.files.delete('/keys/aws-kms-key.2.1.json');
    await bring();
    expect(sidecarOf(KEYS[1] ?? key(2))).toMatchObject({ keySpec: 'AES_192', keyCheckValue: text.keyCheckValue });
  });

  it('of a dry run asks KMS and writes nothing', async () => {
    expect(await bring({ isDryRun: true })).toMatchObject({ imported: { length: 3 } });
    expect(filesOf()).toEqual([]);
    kms.denied = ['Encrypt'];
    const error = await expectKeyError(
      bring({ isDryRun: true }),
      'KMS_OPERATOR',
      /^key 1 version 1 \(master key alias\/a\), dry run: KMS Encrypt failed/,
    );
    expect(error.hint).toContain('policy --for import');
  });

  it('writes nothing where the directory has another key of that name', async () => {
    storeKey(fs, kms, { id: keyId(2), version: keyVersion(1) });
    const before = filesOf();
    const error = await expectKeyError(
      bring(),
      'KEY_EXISTS',
      'key 2 version 1: aws-kms-key.2.1 in /keys holds another data key',
    );
    expect(error.hint).toContain('--keyfile-dir');
    expect(filesOf()).toEqual(before);
  });

  it('uses no number of a retired version, even for the same key', async () => {
    await bring({ keys: [key(1)] });
    const name = { id: keyId(1), version: keyVersion(1) };
    await retireFiles(name, '/keys', fs, KEYS_FOR_CALLER);
    await expectKeyError(bring({ keys: [key(1)] }), 'KEY_EXISTS', '/keys has retired key 1 version 1');
  });

  it('writes nothing where the directory has keys that are not to be imported', async () => {
    storeKey(fs, kms, { id: keyId(1), version: keyVersion(2) });
    const before = filesOf();
    await expectKeyError(bring(), 'KEY_EXISTS', '/keys has key 1 version 2, which is none of the keys to import');
    expect(filesOf()).toEqual(before);
  });

  it('refuses keys that are there for the other algorithm', async () => {
    await bring();
    await expectKeyError(
      bring({ algorithm: 'AES_CTR' }),
      'KEY_EXISTS',
      /holds this data key for AES_CBC, and the data is encrypted with AES_CTR$/,
    );
  });

  it('stores nothing that KMS opens to another data key, and names it', async () => {
    const request = { region: DEFAULT_REGION, keyId: 'alias/a', keySpec: 'AES_128', encryptionContext: {} } as const;
    kms.encrypted = () => Buffer.from(kms.kms.generateDataKeyWithoutPlaintext(request).ciphertextBlob);
    const { problems, imported } = await bring({ keys: [key(1)] });
    expect([problems.map(({ code }) => code), imported, filesOf()]).toEqual([['KMS_BAD_ANSWER'], [], []]);
  });

  it('stops at a full disk, names it, and leaves no temporary file', async () => {
    fs.before = (call, path) => {
      if (call === 'write' && path.startsWith('/keys/')) throw systemError('ENOSPC');
    };
    const { problems, imported } = await bring();
    expect([problems[0]?.code, imported, filesOf()]).toEqual(['STORE_UNAVAILABLE', [], []]);
  });
});
