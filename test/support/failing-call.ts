import { systemClock } from '../../src/cli/system.ts';
import type { Clock } from '../../src/clock.ts';
import { type ErrorCode, KeyError } from '../../src/errors.ts';
import { createAwsKmsClient } from '../../src/kms/aws/client.ts';
import type { AwsSurroundings } from '../../src/kms/aws/connection.ts';
import { KmsCaller } from '../../src/kms/caller.ts';
import type { AttemptOutcome } from '../../src/kms/observer.ts';
import { startDeadline } from '../../src/kms/retry.ts';
import type { RetryRule } from '../../src/kms-failure.ts';
import { Secrets } from '../../src/secrets.ts';

export interface FailingCall {
  readonly endpointUrl: string;
  readonly surroundings?: Partial<AwsSurroundings>;
  readonly requestTimeoutMs?: number;
}

/** JSON values only, because some calls fail in a child process. */
export interface CallFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  /** The error name of each attempt. */
  readonly names: readonly string[];
  /** Milliseconds. */
  readonly pauses: readonly number[];
}

/** The second pause is longer than `briefly`, and the third one than the deadline. */
const PAUSES = [0, 11_000, 1_000_000];
export const ATTEMPTS: Readonly<Record<RetryRule, number>> = { no: 1, briefly: 2, 'until-deadline': 3 };
const DEADLINE_MS = 40_000;

/** One GenerateDataKeyWithoutPlaintext through the SDK, repeated as the table says, without waiting in the pauses. */
export async function failureOf({
  endpointUrl,
  surroundings,
  requestTimeoutMs = 0,
}: FailingCall): Promise<CallFailure> {
  const client = await createAwsKmsClient(
    { region: 'us-east-1', endpointUrl, requestTimeoutMs },
    {
      proxyEnvironment: {},
      trustedCertificates: undefined,
      clock: systemClock,
      environment: process.env,
      secrets: new Secrets(),
      ...surroundings,
    },
  );
  const [names, pauses]: [string[], number[]] = [[], []];
  let skippedMs = 0;
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + skippedMs,
    sleep: async (ms) => {
      skippedMs += ms;
      pauses.push(ms);
    },
  };
  const observer = {
    attemptStarted: () => undefined,
    attemptEnded: (_: unknown, __: unknown, outcome: AttemptOutcome) =>
      void names.push(outcome.ok ? 'success' : outcome.failure.name),
  };
  // The random number that gives this pause: the jitter's base doubles with each attempt.
  const random = (): number => (PAUSES[names.length] ?? 0) / (200 * 2 ** names.length);
  const deadline = startDeadline(systemClock, DEADLINE_MS);
  const request = { masterKeyId: 'alias/a', keySpec: 'AES_128', encryptionContext: {} } as const;
  try {
    await new KmsCaller([client], clock, random, observer).generate('key 1 version 1', request, deadline);
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    return { code: error.code, message: error.message, hint: error.hint, names, pauses };
  } finally {
    deadline.cancel();
    client.close();
  }
  throw new Error('it did not fail');
}
