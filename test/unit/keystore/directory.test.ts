import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { promptFileSystem } from '../../../src/disk/prompt-file-system.ts';
import { KeyError } from '../../../src/errors.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { keysNamedBy, type Named } from '../../../src/keystore/failures.ts';
import type { NewKey, VerifiedKey } from '../../../src/keystore/store.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { MASTER_KEY_ARN } from '../../support/scripted-kms.ts';

const name = { id: keyId(7), version: keyVersion(3) };
const wrapped = Buffer.from('a wrapped key');
const facts = {
  masterKeyArn: MASTER_KEY_ARN,
  keySpec: 'AES_128',
  created: '2030-01-01T00:00:00.000Z',
  requestId: 'r',
  encryptionContext: {},
} as const;
const CHECK = '0123456789abcdef';
const accept = async (stored: Buffer): Promise<VerifiedKey<Buffer>> => ({
  keyCheckValue: CHECK,
  value: stored,
  discard: () => undefined,
});

function newKey<T = Buffer>(changes: Partial<NewKey<T>> = {}): NewKey<T | Buffer> {
  return { name, wrapped, sidecar: facts, verify: accept, report: () => undefined, ...changes };
}

describe.each([
  { how: 'by tasks', fileSystem: nodeFileSystem },
  { how: 'at once', fileSystem: promptFileSystem },
])('a key directory on disk, read $how', ({ fileSystem }) => {
  let path: string;
  let store: KeyDirectory;

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'mak-'));
    store = new KeyDirectory(path, fileSystem, new FakeClock(), Math.random);
  });
  afterEach(() => rmSync(path, { recursive: true, force: true }));

  it('stores the wrapped key and nothing else, 0600, with a sidecar', async () => {
    expect(await store.create(newKey())).toEqual(wrapped);
    expect(readdirSync(path).sort()).toEqual(['aws-kms-key.7.3', 'aws-kms-key.7.3.json']);
    expect(readFileSync(join(path, 'aws-kms-key.7.3'))).toEqual(wrapped);
    for (const file of readdirSync(path)) expect(statSync(join(path, file)).mode & 0o777).toBe(0o600);
    const sha256 = createHash('sha256').update(wrapped).digest('hex');
    expect(await store.read(name)).toEqual({
      wrapped,
      sidecar: { ...facts, wrappedSha256: sha256, keyCheckValue: CHECK },
      sidecarProblem: undefined,
      sidecarText: readFileSync(join(path, 'aws-kms-key.7.3.json')),
    });
  });

  it('never overwrites a key, and keeps the first one byte for byte', async () => {
    await store.create(newKey());
    await expectKeyError(
      store.create(newKey({ wrapped: Buffer.from('another'), sidecar: facts, verify: accept })),
      'KEY_EXISTS',
      'key 7 version 3: aws-kms-key.7.3 was made by another process',
    );
    expect((await store.read(name)).wrapped).toEqual(wrapped);
    expect(readdirSync(path).sort()).toEqual(['aws-kms-key.7.3', 'aws-kms-key.7.3.json']);
  });

  it('lets exactly one of many concurrent creators succeed', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        store.create(
          newKey({ wrapped: Buffer.from(`key ${i}`), sidecar: { ...facts, requestId: `${i}` }, verify: accept }),
        ),
      ),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const stored = await store.read(name);
    expect(stored.wrapped.toString()).toBe(`key ${stored.sidecar?.requestId}`);
  });

  it('lists keys, lost keys and malformed names', async () => {
    for (const file of [
      'aws-kms-key.1.2',
      'aws-kms-key.1.10',
      'aws-kms-key.1.1',
      'aws-kms-key.2.1.json',
      'aws-kms-key.01.1',
      'ibdata1',
      '.aws-kms-tmp-1',
    ]) {
      writeFileSync(join(path, file), 'x');
    }
    expect(await store.list()).toEqual({
      stored: [
        { id: 1, version: 1 },
        { id: 1, version: 2 },
        { id: 1, version: 10 },
      ],
      lost: [{ id: 2, version: 1 }],
      retired: [],
      strays: ['aws-kms-key.01.1'],
      temporaries: ['.aws-kms-tmp-1'],
      isSidecarComing: false,
    });
  });

  it('loads a directory of the original plugin: no sidecars, mode 0444', async () => {
    writeFileSync(join(path, 'aws-kms-key.1.1'), wrapped, { mode: 0o444 });
    expect(await store.read({ id: keyId(1), version: keyVersion(1) })).toEqual({
      wrapped,
      sidecar: undefined,
      sidecarProblem: undefined,
    });
  });

  it('loads a key through a symbolic link, as Kubernetes mounts secrets', async () => {
    mkdirSync(join(path, '..data'));
    writeFileSync(join(path, '..data/k'), wrapped);
    symlinkSync('..data/k', join(path, 'aws-kms-key.7.3'));
    expect((await store.read(name)).wrapped).toEqual(wrapped);
  });

  it.each<[string, (file: string) => void, string | RegExp]>([
    [
      'empty',
      (file) => writeFileSync(file, ''),
      'key 7 version 3: key file aws-kms-key.7.3: expected 1 to 6144 bytes, got 0',
    ],
    [
      'too long',
      (file) => writeFileSync(file, Buffer.alloc(6145)),
      'key 7 version 3: key file aws-kms-key.7.3: expected at most 6144 bytes, got 6145',
    ],
    [
      'a FIFO',
      (file) => void execFileSync('mkfifo', [file]),
      'key 7 version 3: key file aws-kms-key.7.3: it is not a regular file',
    ],
    ['a directory', (file) => mkdirSync(file), 'key 7 version 3: key file aws-kms-key.7.3: it is not a regular file'],
    [
      'a link to a device',
      (file) => symlinkSync('/dev/zero', file),
      'key 7 version 3: key file aws-kms-key.7.3: it is not a regular file',
    ],
  ])('refuses a key file that is %s', async (_, make, message) => {
    make(join(path, 'aws-kms-key.7.3'));
    await expectKeyError(store.read(name), 'KEY_FILE_CORRUPT', message);
  });

  it('distinguishes absent, dangling and unreadable files', async () => {
    await expectKeyError(
      store.read(name),
      'KEY_UNKNOWN',
      `key 7 version 3: there is no file aws-kms-key.7.3 in ${path}`,
    );
    symlinkSync('aws-kms-key.7.3', join(path, 'aws-kms-key.7.3'));
    await expectKeyError(
      store.read(name),
      'KEY_FILE_UNREADABLE',
      /^key 7 version 3: cannot read aws-kms-key\.7\.3 in .*: ELOOP/,
    );
  });

  it('refuses a key that is not the one its sidecar describes', async () => {
    await store.create(newKey());
    chmodSync(join(path, 'aws-kms-key.7.3'), 0o600);
    writeFileSync(join(path, 'aws-kms-key.7.3'), 'swapped');
    const error = await expectKeyError(
      store.read(name),
      'KEY_FILE_CORRUPT',
      /^key 7 version 3: key file aws-kms-key\.7\.3: its SHA-256 is [0-9a-f]{64}, its sidecar says [0-9a-f]{64}$/,
    );
    expect(error.hint).toContain('move aws-kms-key.7.3.json away');
  });

  it("refuses a key whose sidecar is another key's, also when both files were swapped", async () => {
    const other = { id: keyId(8), version: keyVersion(1) };
    await store.create(newKey());
    await store.create(newKey({ name: other, wrapped: Buffer.from('another') }));
    for (const [from, to] of [
      ['7.3', 'x'],
      ['8.1', '7.3'],
      ['x', '8.1'],
    ] as const) {
      for (const end of ['', '.json'])
        renameSync(join(path, `aws-kms-key.${from}${end}`), join(path, `aws-kms-key.${to}${end}`));
    }
    const error = await expectKeyError(
      store.read(name),
      'KEY_FILE_SWAPPED',
      'sidecar aws-kms-key.7.3.json: it describes key 8 version 1',
    );
    expect(error.hint).toContain('mixed up');
    await expectKeyError(
      store.read(other),
      'KEY_FILE_SWAPPED',
      'sidecar aws-kms-key.8.1.json: it describes key 7 version 3',
    );
  });

  it('loads a key whose sidecar is damaged, and says so', async () => {
    await store.create(newKey());
    writeFileSync(join(path, 'aws-kms-key.7.3.json'), '{');
    const stored = await store.read(name);
    expect(stored.wrapped).toEqual(wrapped);
    expect(stored.sidecar).toBeUndefined();
    expect(stored.sidecarProblem?.message).toBe('sidecar aws-kms-key.7.3.json: it is not JSON');
  });

  it('loads a key whose sidecar is no file, and names the sidecar', async () => {
    await store.create(newKey());
    rmSync(join(path, 'aws-kms-key.7.3.json'));
    mkdirSync(join(path, 'aws-kms-key.7.3.json'));
    const stored = await store.read(name);
    expect(stored.wrapped).toEqual(wrapped);
    expect(stored.sidecarProblem?.message).toBe(
      'key 7 version 3: sidecar aws-kms-key.7.3.json: it is not a regular file',
    );
  });

  it('removes abandoned temporary files, not those in use', async () => {
    const clock = new FakeClock();
    store = new KeyDirectory(path, nodeFileSystem, clock, Math.random);
    for (const [file, ageMs] of [
      ['.aws-kms-tmp-old', 3_700_000],
      ['.aws-kms-tmp-new', 1000],
    ] as const) {
      writeFileSync(join(path, file), 'x');
      const at = (clock.wallMs() - ageMs) / 1000;
      utimesSync(join(path, file), at, at);
    }
    await store.removeAbandoned((await store.list()).temporaries);
    expect(readdirSync(path)).toEqual(['.aws-kms-tmp-new']);
  });

  it.each<[string, (directory: string) => string, RegExp]>([
    ['is absent', (directory) => join(directory, 'none'), /^cannot list the key directory .*none: ENOENT/],
    [
      'is a file',
      (directory) => {
        writeFileSync(join(directory, 'file'), '');
        return join(directory, 'file');
      },
      /^cannot list the key directory .*file: ENOTDIR/,
    ],
  ])('reports that it %s: that is never "no keys"', async (_, make, message) => {
    const error = await expectKeyError(
      new KeyDirectory(make(path), nodeFileSystem, new FakeClock(), Math.random).list(),
      'STORE_UNAVAILABLE',
      message,
    );
    expect(error.hint).toContain('aws_key_management_keyfile_dir');
    expect(lstatSync(path).isDirectory()).toBe(true);
  });
});

it('a key directory that is gone is to be mounted or restored, before any thought of making an empty one', async () => {
  const gone = new MemoryFs();
  gone.before = (call) => {
    if (call === 'readdir') throw systemError('ENOENT');
  };
  const list = (named?: Named) => new KeyDirectory('/keys', gone, new FakeClock(), Math.random, named).list();
  const ofServer = await expectKeyError(list(), 'STORE_UNAVAILABLE', /^cannot list the key directory \/keys: ENOENT/);
  expect(ofServer.hint).toBe(
    'if aws_key_management_keyfile_dir names the directory of the keys, mount it, or restore it and its key files from a backup; only where there were never any keys, create it, owned by the user the server runs as, mode 0750',
  );
  const ofAgent = await expectKeyError(list(keysNamedBy('--keyfile-dir', 'agent')), 'STORE_UNAVAILABLE', /ENOENT/);
  expect(ofAgent.hint).toMatch(/^if --keyfile-dir names .* owned by the user the agent runs as, mode 0700$/);
});

describe('a key directory that fails', () => {
  const path = '/keys';
  let fs: MemoryFs;
  let store: KeyDirectory;

  beforeEach(() => {
    fs = new MemoryFs();
    store = new KeyDirectory(path, fs, new FakeClock(), Math.random);
  });

  const hints: Readonly<Record<string, RegExp>> = {
    EACCES: /owner and modes/,
    EPERM: /hard links/,
    EROFS: /read-only/,
    ENOSPC: /full/,
    EDQUOT: /quota/,
    EMFILE: /LimitNOFILE/,
    ENFILE: /file-max/,
    EIO: /kernel log/,
    EXDEV: /system error/,
  };

  it.each(Object.entries(hints))('to list with %s is not taken for empty', async (code, hint) => {
    fs.before = (call) => {
      if (call === 'readdir') throw systemError(code);
    };
    const error = await expectKeyError(
      store.list(),
      'STORE_UNAVAILABLE',
      `cannot list the key directory /keys: ${code}: injected`,
    );
    expect(error.hint).toMatch(hint);
  });

  it.each(['EACCES', 'EIO', 'EMFILE'])('to read a key with %s is not taken for absent', async (code) => {
    fs.files.set('/keys/aws-kms-key.7.3', { bytes: wrapped, synced: true });
    fs.before = (call) => {
      if (call === 'open') throw systemError(code);
    };
    await expectKeyError(
      store.read(name),
      'KEY_FILE_UNREADABLE',
      `key 7 version 3: cannot read aws-kms-key.7.3 in /keys: ${code}: injected`,
    );
  });

  const steps = ['open', 'write', 'fsync', 'close', 'read', 'link'] as const;
  it.each(steps.flatMap((step) => Object.keys(hints).map((code) => [step, code] as const)))(
    'at %s with %s leaves nothing behind',
    async (step, code) => {
      fs.before = (call) => {
        if (call === step) throw systemError(code);
      };
      const error = await expectKeyError(
        store.create(newKey()),
        'STORE_UNAVAILABLE',
        new RegExp(`the key directory /keys: ${code}: injected$`),
      );
      expect(error.hint).toMatch(hints[code] ?? /never/);
      expect([...fs.files.keys()]).toEqual([]);
    },
  );

  it('when the bytes do not verify leaves nothing behind', async () => {
    const refuse = async (): Promise<never> => {
      throw new KeyError('KMS_CORRUPT', 'no');
    };
    await expectKeyError(
      store.create(newKey({ wrapped: wrapped, sidecar: facts, verify: refuse })),
      'KMS_CORRUPT',
      'no',
    );
    expect([...fs.files.keys()]).toEqual([]);
  });

  it('to sync after the link discards the data key and keeps the wrapped one', async () => {
    let discarded = false;
    fs.before = (call) => {
      if (call === 'fsync-directory') throw systemError('EIO');
    };
    const verify = async (): Promise<VerifiedKey<string>> => ({
      value: 'secret',
      keyCheckValue: CHECK,
      discard: () => {
        discarded = true;
      },
    });
    await expectKeyError(
      store.create(newKey({ verify })),
      'STORE_UNAVAILABLE',
      'cannot sync the key directory /keys: EIO: injected',
    );
    expect(discarded).toBe(true);
    expect([...fs.files.keys()]).toEqual(['/keys/aws-kms-key.7.3']);
  });

  it('to store the sidecar costs the key nothing, and is reported', async () => {
    const problems: string[] = [];
    fs.before = (call) => {
      if (call === 'rename') throw systemError('ENOSPC');
    };
    const stored = await store.create(newKey({ report: (problem) => problems.push(problem.message) }));
    expect(stored).toEqual(wrapped);
    expect(problems).toEqual(['cannot store key 7 version 3 in the key directory /keys: ENOSPC: injected']);
    expect([...fs.afterPowerLoss().files.keys()]).toEqual(['/keys/aws-kms-key.7.3']);
  });

  it('has verified exactly the bytes that it then publishes, and is durable when it returns', async () => {
    const verified = await store.create(newKey());
    expect(verified).toEqual(wrapped);
    const left = fs.afterPowerLoss();
    expect(left.files.get('/keys/aws-kms-key.7.3')?.bytes).toEqual(wrapped);
    expect([...left.files.keys()].sort()).toEqual(['/keys/aws-kms-key.7.3', '/keys/aws-kms-key.7.3.json']);
  });

  it('cut by a power loss before any call shows all of a key or nothing', async () => {
    for (let cut = 1; ; cut += 1) {
      fs = new MemoryFs();
      store = new KeyDirectory(path, fs, new FakeClock(), Math.random);
      let calls = 0;
      fs.before = () => {
        calls += 1;
        if (calls >= cut) throw systemError('EIO');
      };
      const finished = await store.create(newKey()).then(
        () => true,
        () => false,
      );
      const left = fs.afterPowerLoss();
      const after = new KeyDirectory(path, left, new FakeClock(), Math.random);
      const { stored, lost } = await after.list();
      expect(lost, `cut at call ${cut}`).toEqual([]);
      for (const found of stored) expect((await after.read(found)).wrapped).toEqual(wrapped);
      if (finished && calls < cut) break;
    }
  });
});
