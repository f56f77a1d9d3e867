import { assertDataKeyLength, wipe } from '../bytes.ts';
import type { Clock, Random } from '../clock.ts';
import { type ErrorCode, KeyError } from '../errors.ts';
import type { KeySpec } from '../format/sidecar.ts';
import { keySpecLength } from '../format/sidecar.ts';
import { classifyKmsFailure, type FailureKind, type KmsFailure } from './classify.ts';
import {
  type DecryptedKey,
  type DecryptRequest,
  type GeneratedKey,
  type GenerateRequest,
  type KmsClient,
  type KmsOperation,
  MAX_WRAPPED_KEY_BYTES,
} from './client.ts';
import { backoffMs, type Deadline } from './retry.ts';

/** Told of every attempt; never sees key bytes. */
export interface KmsObserver {
  attemptStarted(attempt: KmsAttempt): void;
  attemptEnded(attempt: KmsAttempt, ms: number, outcome: AttemptOutcome): void;
}

export interface KmsAttempt {
  readonly operation: KmsOperation;
  /** Which key, as messages name it. */
  readonly subject: string;
  readonly attempt: number;
}

export type AttemptOutcome =
  | { readonly ok: true; readonly requestId: string; readonly masterKeyArn: string }
  | { readonly ok: false; readonly failure: KmsFailure; readonly retryInMs: number | undefined };

const BRIEFLY_MS = 10_000;

const CODES: Readonly<Record<FailureKind, ErrorCode>> = {
  operator: 'KMS_OPERATOR',
  transient: 'KMS_TRANSIENT',
  corrupt: 'KMS_CORRUPT',
  other: 'KMS_BAD_ANSWER',
};

/** KMS calls with retries inside a deadline, and with every answer checked. */
export class KmsCaller {
  readonly #client: KmsClient;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #observer: KmsObserver;

  constructor(client: KmsClient, clock: Clock, random: Random, observer: KmsObserver) {
    this.#client = client;
    this.#clock = clock;
    this.#random = random;
    this.#observer = observer;
  }

  /** @throws KeyError KMS_…, TIMEOUT */
  async generate(subject: string, request: GenerateRequest, deadline: Deadline): Promise<GeneratedKey> {
    const key = await this.#call('GenerateDataKeyWithoutPlaintext', subject, deadline, (signal) =>
      this.#client.generateWrappedKey(request, signal),
    );
    // KMS answered with a wrapped key of 1 to 6144 bytes and the ARN of a master key.
    if (key.wrapped.length < 1 || key.wrapped.length > MAX_WRAPPED_KEY_BYTES) {
      throw badAnswer(
        subject,
        `"CiphertextBlob" expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got ${key.wrapped.length}`,
      );
    }
    if (!key.masterKeyArn.startsWith('arn:')) throw badAnswer(subject, '"KeyId" is not an ARN');
    return key;
  }

  /**
   * The plaintext is the caller's to wipe.
   * @param expectedSpec length that the data key must have, when it is known
   * @throws KeyError KMS_…, TIMEOUT
   */
  async decrypt(
    subject: string,
    request: DecryptRequest,
    expectedSpec: KeySpec | undefined,
    deadline: Deadline,
  ): Promise<DecryptedKey> {
    const key = await this.#call('Decrypt', subject, deadline, (signal) => this.#client.decrypt(request, signal));
    try {
      // KMS answered with the master key we named and a data key of the length it was made with.
      if (request.masterKeyArn !== undefined && key.masterKeyArn !== request.masterKeyArn) {
        throw badAnswer(subject, `"KeyId" expected ${request.masterKeyArn}, got ${key.masterKeyArn}`);
      }
      assertDataKeyLength(subject, key.plaintext);
      if (expectedSpec !== undefined && key.plaintext.length !== keySpecLength(expectedSpec)) {
        throw badAnswer(
          subject,
          `"data key" expected ${keySpecLength(expectedSpec)} bytes for ${expectedSpec}, got ${key.plaintext.length}`,
        );
      }
      return key;
    } catch (error) {
      wipe(key.plaintext);
      throw error;
    }
  }

  async #call<T extends { readonly requestId: string; readonly masterKeyArn: string }>(
    operation: KmsOperation,
    subject: string,
    deadline: Deadline,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const startedMs = this.#clock.monotonicMs();
    let last: KmsFailure | undefined;
    for (let attempt = 1; ; attempt += 1) {
      if (deadline.signal.aborted) throw timedOut(operation, subject, deadline, last);
      const attemptStartedMs = this.#clock.monotonicMs();
      this.#observer.attemptStarted({ operation, subject, attempt });
      const elapsed = (): number => this.#clock.monotonicMs() - attemptStartedMs;
      let pauseMs: number;
      try {
        const answer = await send(deadline.signal);
        const { requestId, masterKeyArn } = answer;
        this.#observer.attemptEnded({ operation, subject, attempt }, elapsed(), { ok: true, requestId, masterKeyArn });
        return answer;
      } catch (thrown) {
        const gaveUp = deadline.signal.aborted;
        const failure = gaveUp ? abandoned(last) : classifyKmsFailure(thrown);
        const retryInMs = gaveUp ? undefined : this.#retryInMs(failure, attempt, startedMs, deadline);
        this.#observer.attemptEnded({ operation, subject, attempt }, elapsed(), { ok: false, failure, retryInMs });
        if (gaveUp) throw timedOut(operation, subject, deadline, last);
        last = failure;
        if (retryInMs === undefined) throw failed(operation, subject, failure, attempt, thrown);
        pauseMs = retryInMs;
      }
      await this.#clock.sleep(pauseMs, deadline.signal).catch(() => undefined);
    }
  }

  #retryInMs(failure: KmsFailure, attempt: number, startedMs: number, deadline: Deadline): number | undefined {
    if (failure.retry === 'no') return undefined;
    const pause = backoffMs(attempt, this.#random);
    const resumeMs = this.#clock.monotonicMs() + pause;
    if (failure.retry === 'briefly' && resumeMs - startedMs > BRIEFLY_MS) return undefined;
    return resumeMs < deadline.atMs ? pause : undefined;
  }
}

function badAnswer(subject: string, problem: string): KeyError {
  return new KeyError('KMS_BAD_ANSWER', `${subject}: KMS answered wrongly: ${problem}`, {
    hint: 'nothing was changed; check that aws_key_management_endpoint_url is a KMS endpoint',
  });
}

function failed(
  operation: KmsOperation,
  subject: string,
  failure: KmsFailure,
  attempts: number,
  cause: unknown,
): KeyError {
  const times = attempts > 1 ? ` after ${attempts} attempts` : '';
  return new KeyError(CODES[failure.kind], `${subject}: KMS ${operation} failed${times}: ${describeFailure(failure)}`, {
    hint: failure.hint,
    cause,
  });
}

/** `DisabledException: arn:… is disabled. (request 1f2e…)` */
export function describeFailure({ name, message, requestId }: KmsFailure): string {
  const text = message === '' ? name : `${name}: ${message}`;
  return requestId === '' ? text : `${text} (request ${requestId})`;
}

function abandoned(last: KmsFailure | undefined): KmsFailure {
  return {
    kind: 'transient',
    retry: 'no',
    name: 'TimeoutError',
    message: 'given up at the deadline',
    requestId: '',
    status: 0,
    hint: last?.hint ?? '',
  };
}

function timedOut(
  operation: KmsOperation,
  subject: string,
  deadline: Deadline,
  last: KmsFailure | undefined,
): KeyError {
  const reason = last === undefined ? 'no answer came' : `the last failure was ${describeFailure(last)}`;
  return new KeyError(
    'TIMEOUT',
    `${subject}: KMS ${operation} did not succeed within ${deadline.totalMs / 1000} s: ${reason}`,
    {
      hint: last?.hint ?? 'check that the server can reach the KMS endpoint',
    },
  );
}
