import { beforeEach, expect, it } from 'vitest';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { openWrapped, wrappedBytes, wrappedFileName } from '../../../src/import/wrapped-files.ts';
import { OperatorCaller } from '../../../src/kms/operator-caller.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';

let clock: FakeClock;
let kms: EmbeddedClient;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a']);
});

async function wrapByHand(plaintext: Buffer): Promise<Buffer> {
  const request = { masterKeyId: 'alias/a', plaintext, encryptionContext: { by: 'hand' } };
  return (await kms.client.encrypt(request, new AbortController().signal)).wrapped;
}

async function open(wrapped: Buffer, context: Readonly<Record<string, string>> = { by: 'hand' }) {
  const files = [{ name: { id: keyId(7), version: keyVersion(2) }, file: '7.2', wrapped }];
  const { signal } = new AbortController();
  const caller = new OperatorCaller(kms.client, { clock, random: () => 0.5 });
  return await clock.runUntil(openWrapped(files, context, { kms: caller, clock, signal }));
}

it.each([
  ['7.2', { id: 7, version: 2 }],
  ['aws-kms-key.7.2', { id: 7, version: 2 }],
  ['7', undefined],
  ['0.1', undefined],
  ['7.2.json', undefined],
  ['4294967296.1', undefined],
])('the file %s names %o', (file, name) => {
  expect(wrappedFileName(file)).toEqual(name);
});

it('a file is the bytes of a CiphertextBlob, or the base64 that the command line prints', async () => {
  const wrapped = await wrapByHand(Buffer.alloc(24, 7));
  for (const bytes of [wrapped, Buffer.from(`${wrapped.toString('base64')}\n`)]) {
    const [key] = await open(wrappedBytes('7.2', bytes));
    expect(key).toMatchObject({ id: 7, version: 2, bytes: Buffer.alloc(24, 7) });
  }
  await expectKeyError(
    () => wrappedBytes('7.2', Buffer.alloc(0)),
    'KEY_FILE_CORRUPT',
    '7.2: expected 1 to 6144 bytes, got 0',
  );
});

it('a file of another context, and one that holds no data key, are refused by name', async () => {
  const wrapped = await wrapByHand(Buffer.alloc(16, 7));
  await expectKeyError(open(wrapped, {}), 'KMS_CORRUPT', /^key 7 version 2 \(file 7\.2\): KMS Decrypt failed/);
  await expectKeyError(
    open(await wrapByHand(Buffer.alloc(17, 7))),
    'KMS_BAD_ANSWER',
    /^key 7 version 2 \(file 7\.2\): .*"data key" expected 16, 24 or 32 bytes, got 17/,
  );
});
