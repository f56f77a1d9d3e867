import { KMSClient, type KMSServiceException } from '@aws-sdk/client-kms';
import { expect, onTestFinished } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { type DevKms, type DevKmsOptions, startDevKms, TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';

export const ACCOUNT = '111122223333';
export const REQUEST_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** An endpoint that is closed at the end of the test. */
export async function endpoint(options: Partial<DevKmsOptions> = {}): Promise<DevKms> {
  const kms = await startDevKms({ clock: systemClock, ...options });
  onTestFinished(() => kms.close());
  return kms;
}

/** The real SDK client, without retries, so that every fault is seen once. */
export function client(kms: DevKms, options: Partial<ConstructorParameters<typeof KMSClient>[0]> = {}): KMSClient {
  const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;
  const made = new KMSClient({
    endpoint: kms.url,
    region: 'us-east-1',
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
    ...options,
  });
  onTestFinished(() => made.destroy());
  return made;
}

export async function caught(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`not an Error was thrown: ${String(error)}`);
  }
  throw new Error('expected a rejection, got success');
}

type FaultClass = abstract new (...args: never[]) => KMSServiceException;

/** Error name, message and HTTP status, and the class where the SDK has one; AWS's request id must be there. */
export async function expectFault(
  promise: Promise<unknown>,
  name: string,
  message: string,
  faultClass?: FaultClass,
): Promise<void> {
  const error = await caught(promise);
  expect({ name: error.name, message: error.message }).toEqual({ name, message });
  if (faultClass !== undefined) expect(error).toBeInstanceOf(faultClass);
  const metadata: unknown = '$metadata' in error ? error.$metadata : undefined;
  expect(metadata).toMatchObject({ httpStatusCode: 400, requestId: expect.stringMatching(REQUEST_ID) });
}

export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('expected a value, got undefined');
  return value;
}
