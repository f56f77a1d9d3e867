import {
  DecryptCommand,
  GenerateDataKeyCommand,
  KMSInternalException,
  ListKeysCommand,
  ReEncryptCommand,
} from '@aws-sdk/client-kms';
import { describe, expect, test } from 'vitest';
import { FaultPlan } from '../../../src/dev-kms/fault-plan.ts';
import { type FaultRule, parseFaultRule, parseFaultText } from '../../../src/dev-kms/index.ts';
import { KeyError } from '../../../src/errors.ts';
import { caught, client, endpoint, expectFault, present } from './endpoint.ts';

const KeyId = 'alias/main';
const PATIENCE = { timeout: 10_000 };

async function start(...rules: readonly string[]) {
  const kms = await endpoint({ aliases: [KeyId], faults: rules.flatMap(parseFaultText) });
  const sdk = client(kms);
  return { kms, sdk, generate: () => sdk.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })) };
}

function codeOf(error: Error): unknown {
  return 'code' in error ? error.code : undefined;
}

describe('through the real SDK', () => {
  test('latencies are waited and add up', async () => {
    const { generate, kms } = await start('*:latency=120:count=1', 'GenerateDataKey:latency=80:count=1');
    const before = performance.now();
    await generate();
    expect(performance.now() - before).toBeGreaterThanOrEqual(195);
    await generate();
    expect(kms.calls.list()).toMatchObject([
      { status: 200, fault: 'latency' },
      { status: 200, fault: '' },
    ]);
  });

  test('ReEncrypt answers with another data key, wrapped under the right key and context', async () => {
    const { sdk, generate } = await start('ReEncrypt:wrong-plaintext');
    const { CiphertextBlob, Plaintext } = await generate();
    const context = { a: 'b' };
    const moved = await sdk.send(
      new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: KeyId, DestinationEncryptionContext: context }),
    );
    const opened = await sdk.send(
      new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, KeyId, EncryptionContext: context }),
    );
    expect(opened.Plaintext).toHaveLength(16);
    expect(opened.Plaintext).not.toEqual(Plaintext?.subarray(0, 16));
  });

  test('throttling ends when the SDK retries', async () => {
    const { kms } = await start('ListKeys:error=ThrottlingException:count=2');
    const message = 'You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.';
    await expectFault(client(kms).send(new ListKeysCommand({})), 'ThrottlingException', message);
    const { Keys } = await client(kms, { maxAttempts: 3 }).send(new ListKeysCommand({}));
    expect(Keys).toHaveLength(1);
    expect(kms.calls.list().map(({ status, fault }) => [status, fault])).toEqual([
      [400, 'error'],
      [400, 'error'],
      [200, ''],
    ]);
  });

  test('faults give 5xx statuses, expired tokens, and custom texts', async () => {
    const { generate } = await start(
      '*:error=KMSInternalException:count=1',
      '*:error=ExpiredTokenException:count=1',
      '*:error=DependencyTimeoutException:count=1',
      '*:error=AccessDeniedException:status=403:count=1:message=no: never',
    );
    const internal = await caught(generate());
    expect(internal).toBeInstanceOf(KMSInternalException);
    expect(internal).toMatchObject({ name: 'KMSInternalException', $metadata: { httpStatusCode: 500 } });
    await expectFault(generate(), 'ExpiredTokenException', 'The security token included in the request is expired');
    expect(await caught(generate())).toMatchObject({
      name: 'DependencyTimeoutException',
      message: 'The system timed out while trying to fulfill the request.',
      $metadata: { httpStatusCode: 503 },
    });
    expect(await caught(generate())).toMatchObject({ message: 'no: never', $metadata: { httpStatusCode: 403 } });
    await generate();
  });

  test('the fault "drop" closes the connection', async () => {
    const { generate, kms } = await start('GenerateDataKey:drop:count=1');
    expect(codeOf(await caught(generate()))).toBe('ECONNRESET');
    expect(kms.calls.list()).toMatchObject([{ operation: 'GenerateDataKey', status: 0, fault: 'drop' }]);
    await generate();
  });

  test('the fault "hang" gives no answer', async () => {
    const { kms } = await start('*:hang:count=1');
    const impatient = client(kms, { requestHandler: { requestTimeout: 150, throwOnRequestTimeout: true } });
    expect((await caught(impatient.send(new ListKeysCommand({})))).name).toBe('TimeoutError');
    expect(kms.calls.list()).toMatchObject([{ operation: 'ListKeys', status: 0, fault: 'hang' }]);
  });

  test('the fault "half" sends half an answer', async () => {
    const { generate, kms } = await start('*:half:count=1');
    expect(codeOf(await caught(generate()))).toBe('ECONNRESET');
    expect(kms.calls.list()).toMatchObject([{ status: 200, fault: 'half' }]);
    await generate();
  });

  test('the fault "garbage" sends an unreadable answer', async () => {
    const { generate } = await start('*:garbage:count=1');
    const error = await caught(generate());
    expect(error).toBeInstanceOf(SyntaxError);
    expect(error).toMatchObject({ $metadata: { httpStatusCode: 502 } });
  });

  test('faults give a wrong key id, plaintext or length', async () => {
    const { kms, sdk, generate } = await start();
    const arn = present(kms.keyArns[0]);
    const { CiphertextBlob, Plaintext } = await generate();
    const decrypt = () => sdk.send(new DecryptCommand({ CiphertextBlob, KeyId: arn }));
    kms.faults.set(
      ['wrong-key-id', 'wrong-plaintext', 'wrong-plaintext-length=5'].flatMap((kind) =>
        parseFaultText(`Decrypt:${kind}:count=1`),
      ),
    );
    const otherKey = await decrypt();
    expect(otherKey.KeyId).toMatch(/^arn:aws:kms:us-east-1:111122223333:key\/[0-9a-f-]{36}$/);
    expect(otherKey.KeyId).not.toBe(arn);
    expect(otherKey.Plaintext).toEqual(Plaintext);
    const otherBytes = await decrypt();
    expect(otherBytes.KeyId).toBe(arn);
    expect(otherBytes.Plaintext).toHaveLength(32);
    expect(otherBytes.Plaintext).not.toEqual(Plaintext);
    expect((await decrypt()).Plaintext).toHaveLength(5);
    expect((await decrypt()).Plaintext).toEqual(Plaintext);
  });

  test('a hanging call does not keep the endpoint from closing', async () => {
    const { kms, generate } = await start('*:hang');
    const pending = caught(generate());
    await expect.poll(() => kms.calls.list().length, PATIENCE).toBe(1);
    await kms.close();
    expect(codeOf(await pending)).toBe('ECONNRESET');
  });

  test('a delayed call does not keep the endpoint from closing', async () => {
    const { kms, generate } = await start('*:latency=60000');
    const pending = caught(generate());
    await expect.poll(() => kms.faults.list()[0]?.struck, PATIENCE).toBe(1);
    await kms.close();
    expect(codeOf(await pending)).toBe('ECONNRESET');
  });
});

describe('FaultPlan', () => {
  const plan = (rules: readonly FaultRule[], random = 0) => {
    const made = new FaultPlan(() => random);
    made.set(rules);
    return made;
  };

  test('a rule skips, then affects as many calls as it says, and only those that it names', () => {
    const faults = plan([{ kind: 'drop', operation: 'Decrypt', region: 'eu-west-1', skip: 1, count: 2 }]);
    const kinds = Array.from({ length: 5 }, () => faults.next('Decrypt', 'eu-west-1').misbehaviour?.kind);
    expect(kinds).toEqual([undefined, 'drop', 'drop', undefined, undefined]);
    expect(faults.next('Decrypt', 'us-east-1').misbehaviour).toBeUndefined();
    expect(faults.next('Encrypt', 'eu-west-1').misbehaviour).toBeUndefined();
    expect(faults.list()).toMatchObject([{ kind: 'drop', matched: 5, struck: 2 }]);
  });

  test('a second fault waits for its turn, while latency is added', () => {
    const faults = plan([
      { kind: 'drop', count: 1 },
      { kind: 'latency', ms: 5 },
      { kind: 'hang', count: 1 },
    ]);
    expect(faults.next('Decrypt', 'us-east-1')).toMatchObject({ latencyMs: 5, misbehaviour: { kind: 'drop' } });
    expect(faults.next('Decrypt', 'us-east-1')).toMatchObject({ latencyMs: 5, misbehaviour: { kind: 'hang' } });
    expect(faults.next('Decrypt', 'us-east-1')).toEqual({ latencyMs: 5, misbehaviour: undefined });
  });

  test('a rule affects the share of calls that its probability says', () => {
    expect(plan([{ kind: 'drop', probability: 0.5 }], 0.49).next('Decrypt', 'us-east-1').misbehaviour?.kind).toBe(
      'drop',
    );
    expect(plan([{ kind: 'drop', probability: 0.5 }], 0.5).next('Decrypt', 'us-east-1').misbehaviour).toBeUndefined();
  });
});

describe('rules as text', () => {
  test('rules as text become the rules that they describe', () => {
    expect(parseFaultText('Decrypt:latency=5000:count=2')).toEqual([
      { operation: 'Decrypt', kind: 'latency', ms: 5000, count: 2 },
    ]);
    expect(parseFaultText('*:latency=10:error=ThrottlingException:skip=1:probability=0.25:region=eu-west-1')).toEqual([
      { operation: '*', region: 'eu-west-1', skip: 1, probability: 0.25, kind: 'latency', ms: 10 },
      {
        operation: '*',
        region: 'eu-west-1',
        skip: 1,
        probability: 0.25,
        kind: 'error',
        name: 'ThrottlingException',
        status: 400,
        message: 'You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.',
      },
    ]);
  });

  test.each([
    [
      'Decrypt',
      'fault: "Decrypt" names no kind (latency, error, drop, hang, half, garbage, wrong-key-id, wrong-plaintext, wrong-plaintext-length)',
    ],
    ['decrypt:drop', /^fault: operation: expected \* or one of CancelKeyDeletion, .*, got "decrypt"$/],
    [
      '*:slow',
      /^fault: "slow" is neither a kind \(latency, .*\) nor a setting \(count, skip, probability, status, region, message\)$/,
    ],
    ['*:latency', 'fault: latency: expected a value, for example latency=100'],
    ['*:latency=fast', 'fault: latency: expected a number, got "fast"'],
    ['*:latency=1.5', 'fault: ms: expected a whole number from 0, got 1.5'],
    ['*:drop=1', 'fault: drop: takes no value, got "1"'],
    ['*:drop:count=0', 'fault: count: expected a whole number from 1, got 0'],
    ['*:drop:count=1:count=2', 'fault: count: given twice in "*:drop:count=1:count=2"'],
    ['*:drop:probability=2', 'fault: probability: expected 0 to 1, got 2'],
    ['*:drop:region=mars', 'fault: region: expected the name of a Region, got "mars"'],
    ['*:drop:status=500', 'fault: status and message belong to an error, and "*:drop:status=500" has none'],
    ['*:error=no such', 'fault: name: expected the name of an AWS error, got "no such"'],
    ['*:error=X:status=200', 'fault: status: expected a whole number from 400, got 200'],
  ])('the rule "%s" is refused', (text, message) => {
    let thrown: unknown;
    try {
      parseFaultText(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(KeyError);
    expect(thrown).toMatchObject({
      code: 'BAD_OPTION',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('a rule in JSON with a misspelt member is refused', () => {
    expect(() => parseFaultRule({ kind: 'drop', cuont: 1 })).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION', message: 'fault: cuont: a fault of kind drop has no such member' }),
    );
  });
});
