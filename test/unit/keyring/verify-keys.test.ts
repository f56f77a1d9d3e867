import { beforeEach, expect, it } from 'vitest';
import { type KeyName, keyFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion, parseKeyIdSet } from '../../../src/ids.ts';
import { type VerifiedKeys, type VerifyParts, verifyKeys } from '../../../src/keyring/verify-keys.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KEYS_FOR_CALLER } from '../../../src/keystore/failures.ts';
import { retiredIn } from '../../../src/keystore/retired.ts';
import { UnwrapCaller } from '../../../src/kms/caller.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { kmsError } from '../../support/scripted-kms.ts';
import { storeKey } from '../../support/stored-keys.ts';

let clock: FakeClock;
let kms: EmbeddedClient;
let fs: MemoryFs;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a', 'alias/b']);
  fs = new MemoryFs();
});

function name(id: number, version = 1): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

function store(...names: readonly KeyName[]): void {
  for (const each of names) storeKey(fs, kms, each);
}

const NOBODY = { attemptStarted: () => undefined, attemptEnded: () => undefined };

async function verify(more: Partial<VerifyParts> = {}): Promise<VerifiedKeys> {
  return await verifyKeys({
    store: new KeyDirectory('/keys', fs, clock, Math.random, KEYS_FOR_CALLER),
    keyIds: parseKeyIdSet(''),
    kms: new UnwrapCaller([kms.client], clock, () => 0.5, NOBODY),
    context: { cluster: 'orders' },
    retired: [],
    clock,
    progress: () => undefined,
    signal: new AbortController().signal,
    ...more,
  });
}

function told({ problems, warnings, unseen }: VerifiedKeys) {
  const messages = (errors: VerifiedKeys['problems']) => errors.map(({ message }) => message);
  return { problems: messages(problems), warnings: messages(warnings), unseen: messages(unseen) };
}

const NOTHING = { problems: [], warnings: [], unseen: [] };

/** The stored bytes of a file, to be spoilt. */
function file(path: string): { bytes: Buffer } {
  const found = fs.files.get(`/keys/${path}`);
  if (found === undefined) throw new Error(`there is no ${path}`);
  return found;
}

it('sound keys of each kind open, and those without a check value are named', async () => {
  store(name(1), name(1, 2));
  storeKey(fs, kms, name(2), { algorithm: 'AES_CTR' });
  storeKey(fs, kms, name(3), { sidecar: false, configured: { cluster: 'orders' } });
  storeKey(fs, kms, name(4), { sidecar: 'early' });
  const shown: string[] = [];
  const found = await verify({ progress: (done, all) => void shown.push(`${done}/${all}`) });
  expect(told(found)).toEqual(NOTHING);
  expect(found.opened).toBe(5);
  expect(found.undescribed).toEqual([name(3), name(4)]);
  expect(shown.at(-1)).toBe('5/5');
});

it('a key file of another data key is found by KMS, and without KMS by its checksum', async () => {
  store(name(1), name(2));
  file(keyFileName(name(1))).bytes = file(keyFileName(name(2))).bytes;
  expect(told(await verify())).toEqual({
    ...NOTHING,
    problems: [expect.stringMatching(/^key 1 version 1: key file aws-kms-key\.1\.1: its SHA-256 is .*/)],
  });
  const { length } = kms.calls;
  const found = await verify({ kms: undefined });
  expect(told(found)).toEqual({
    ...NOTHING,
    problems: [expect.stringMatching(/^key 1 version 1: key file aws-kms-key\.1\.1: its SHA-256 is .*/)],
  });
  expect(kms.calls).toHaveLength(length);
});

it('a key file whose check value is another is a problem', async () => {
  store(name(1));
  const sidecar = file(sidecarFileName(name(1)));
  const text = sidecar.bytes
    .toString()
    .replace(/"keyCheckValue": "[0-9a-f]{16}"/, '"keyCheckValue": "0123456789abcdef"');
  sidecar.bytes = Buffer.from(text);
  expect(told(await verify())).toEqual({
    ...NOTHING,
    problems: [expect.stringContaining('the data key is not the one that was made: its key check value differs')],
  });
});

it('a damaged, an empty and a missing key file, and a sidecar of another key are problems', async () => {
  store(name(1), name(2), name(3), name(4));
  file(keyFileName(name(1))).bytes = Buffer.from('x'.repeat(100));
  file(keyFileName(name(2))).bytes = Buffer.alloc(0);
  fs.files.delete(`/keys/${keyFileName(name(3))}`);
  file(sidecarFileName(name(4))).bytes = Buffer.from(
    file(sidecarFileName(name(4)))
      .bytes.toString()
      .replace('"keyId": 4', '"keyId": 9'),
  );
  expect(told(await verify()).problems.sort()).toEqual([
    expect.stringMatching(/^key 1 version 1: key file aws-kms-key\.1\.1: its SHA-256 is/),
    expect.stringMatching(/^key 2 version 1: key file aws-kms-key\.2\.1: expected 1 to 6144 bytes, got 0/),
    expect.stringMatching(/^key 3 version 1: .*aws-kms-key\.3\.1/),
    expect.stringMatching(/^sidecar aws-kms-key\.4\.1\.json: it describes key 9 version 1/),
  ]);
});

it('a damaged sidecar and a stray file are warnings, and the keys open', async () => {
  store(name(1));
  file(sidecarFileName(name(1))).bytes = Buffer.from('{');
  fs.files.set('/keys/aws-kms-key.01.1', { bytes: Buffer.from('x'), synced: true });
  const found = await verify();
  expect(told(found)).toEqual({
    ...NOTHING,
    warnings: [
      'aws-kms-key.01.1 in /keys: not the name of a key file',
      'key 1 version 1: sidecar aws-kms-key.1.1.json: it is not JSON',
    ],
  });
  expect(found.opened).toBe(1);
});

it('missing versions are problems, unless they were retired', async () => {
  store(name(1, 2), name(1, 5), name(2));
  expect(told(await verify())).toEqual({
    ...NOTHING,
    problems: [
      'key 1 version 1: missing in /keys, where later ones are',
      'key 1 versions 3 to 4: missing in /keys, where later ones are',
    ],
  });
  for (const version of [1, 3, 4])
    fs.files.set(`/keys/.aws-kms-retired/${keyFileName(name(1, version))}`, { bytes: Buffer.from('x'), synced: true });
  const retired = await retiredIn('/keys', fs, KEYS_FOR_CALLER);
  expect(told(await verify({ retired }))).toEqual(NOTHING);
  expect(told(await verify({ keyIds: parseKeyIdSet('2') }))).toEqual(NOTHING);
  const two = retired.filter(({ version }) => version !== 3);
  expect(told(await verify({ retired: two })).problems).toEqual([
    'key 1 version 3: missing in /keys, where later ones are',
  ]);
});

it('a lost sidecar of a retired version is no lost key', async () => {
  store(name(1), name(1, 2));
  fs.files.delete(`/keys/${keyFileName(name(1))}`);
  expect(told(await verify({ retired: [name(1)] }))).toEqual(NOTHING);
});

const REFUSALS = [
  ['a denied permission', 'AccessDeniedException', 'unseen'],
  ['a disabled master key', 'DisabledException', 'problems'],
  ['a refused ciphertext', 'InvalidCiphertextException', 'problems'],
] as const;

it.each(REFUSALS)('%s is told as what it says about the keys', async (_, error, list) => {
  store(name(1), name(2));
  kms.on = (_operation, context) => {
    if (context['aws_key_management:key_id'] === '1' || kms.calls.length === 1) throw kmsError(error, 'no', 400);
  };
  const found = await verify();
  expect(found.opened).toBe(1);
  expect(told(found)).toEqual({
    ...NOTHING,
    [list]: [expect.stringMatching(new RegExp(`^key \\d version 1 .*${error}`))],
  });
});

it('a file that cannot be read was not looked at', async () => {
  store(name(1), name(2));
  fs.before = (call, path) => {
    if (call === 'open' && path === '/keys/aws-kms-key.1.1') throw systemError('EACCES');
  };
  const found = await verify();
  expect(found.opened).toBe(1);
  expect(told(found)).toEqual({ ...NOTHING, unseen: [expect.stringMatching(/^key 1 version 1.*EACCES/)] });
});

it('an interruption leaves the rest, and says so', async () => {
  store(name(1), name(2), name(3));
  const stop = new AbortController();
  kms.on = () => stop.abort();
  const found = await verify({ signal: stop.signal });
  expect(told(found).unseen).toEqual([expect.stringMatching(/^interrupted: \d of 3 key versions were not looked at$/)]);
});

it('no key at all, and none of the chosen ids, are refused', async () => {
  await expectKeyError(verify(), 'KEY_FILE_MISSING', 'there is no key file in /keys');
  store(name(1));
  const keyIds = parseKeyIdSet('7');
  await expectKeyError(verify({ keyIds }), 'KEY_UNKNOWN', 'none of these key ids is in /keys');
});
