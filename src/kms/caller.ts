import { assertDataKeyLength, keyCheckValue, wipe } from '../bytes.ts';
import type { Clock, Random } from '../clock.ts';
import { type ErrorCode, KeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { type KeySpec, keySpecLength } from '../format/sidecar.ts';
import { classifyKmsFailure, describeFailure, inRequest, isThrottling, type KmsFailure } from './classify.ts';
import {
  type DataKeyClient,
  type DecryptedKey,
  type GeneratedKey,
  type GenerateRequest,
  type KmsOperation,
  MAX_WRAPPED_KEY_BYTES,
} from './client.ts';
import type { FailureKind } from './failure-row.ts';
import { CallLimiter } from './limiter.ts';
import { isSameMasterKey } from './master-key.ts';
import { backoffMs, type Deadline, unlessAborted } from './retry.ts';

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

/** What every answer of KMS has. */
export interface Answer {
  readonly requestId: string;
  readonly masterKeyArn: string;
  readonly servedBy?: DecryptedKey['servedBy'];
}

export type AttemptOutcome =
  | { readonly ok: true; readonly answer: Answer }
  | { readonly ok: false; readonly failure: KmsFailure; readonly retryInMs: number | undefined };

export interface UnwrapRequest {
  readonly wrapped: Uint8Array;
  /** The master key it was wrapped under, when that is known: KMS must use it, and say that it did. */
  readonly masterKeyArn: string | undefined;
  /** The length the data key must have, when that is known. */
  readonly keySpec: KeySpec | undefined;
  /** Of the data key, when that is known. */
  readonly keyCheckValue: string | undefined;
  readonly encryptionContext: EncryptionContext;
}

interface CallName {
  readonly operation: KmsOperation;
  readonly subject: string;
  readonly deadline: Deadline;
}

interface Call<T extends Answer> extends CallName {
  readonly send: (signal: AbortSignal) => Promise<T>;
  /** Throws when the answer is not what was asked for. */
  readonly check: (answer: T) => void;
  /** Gets answers that nobody will use: refused ones and late ones. */
  readonly discard: (answer: T) => void;
}

const BRIEFLY_MS = 10_000;

const CODES: Readonly<Record<FailureKind, ErrorCode>> = {
  operator: 'KMS_OPERATOR',
  transient: 'KMS_TRANSIENT',
  corrupt: 'KMS_CORRUPT',
  other: 'KMS_BAD_ANSWER',
};

/** KMS calls with retries inside a deadline, and with every answer checked. */
export class KmsCaller {
  readonly #client: DataKeyClient;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #observer: KmsObserver;
  readonly #limiter: CallLimiter;

  constructor(client: DataKeyClient, clock: Clock, random: Random, observer: KmsObserver) {
    this.#client = client;
    this.#clock = clock;
    this.#random = random;
    this.#observer = observer;
    this.#limiter = new CallLimiter(() => clock.monotonicMs());
  }

  /** @throws KeyError KMS_…, TIMEOUT */
  async generate(subject: string, request: GenerateRequest, deadline: Deadline): Promise<GeneratedKey> {
    return await this.#call({
      operation: 'GenerateDataKeyWithoutPlaintext',
      subject,
      deadline,
      send: (signal) => this.#client.generateWrappedKey(request, signal),
      check: ({ wrapped, masterKeyArn, requestId }) => {
        // KMS answered with a wrapped key of 1 to 6144 bytes and the ARN of a master key.
        if (wrapped.length < 1 || wrapped.length > MAX_WRAPPED_KEY_BYTES) {
          const expected = `"CiphertextBlob" expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got ${wrapped.length}`;
          throw badAnswer(subject, expected, requestId);
        }
        if (!masterKeyArn.startsWith('arn:')) throw badAnswer(subject, '"KeyId" is not an ARN', requestId);
      },
      discard: () => undefined,
    });
  }

  /**
   * The plaintext is the caller's to wipe.
   * @throws KeyError KMS_…, TIMEOUT
   */
  async decrypt(subject: string, request: UnwrapRequest, deadline: Deadline): Promise<DecryptedKey> {
    const { wrapped, keySpec, masterKeyArn, encryptionContext } = request;
    return await this.#call({
      operation: 'Decrypt',
      subject,
      deadline,
      send: (signal) => this.#client.decrypt({ wrapped, masterKeyArn, encryptionContext }, signal),
      check: (answer) => {
        // KMS answered with the master key we named, and with the very data key that was made.
        if (masterKeyArn !== undefined && !isSameMasterKey(answer.masterKeyArn, masterKeyArn)) {
          throw badAnswer(subject, `"KeyId" expected ${masterKeyArn}, got ${answer.masterKeyArn}`, answer.requestId);
        }
        assertDataKeyLength(subject, answer.plaintext);
        if (keySpec !== undefined && answer.plaintext.length !== keySpecLength(keySpec)) {
          const expected = `"data key" expected ${keySpecLength(keySpec)} bytes for ${keySpec}`;
          throw badAnswer(subject, `${expected}, got ${answer.plaintext.length}`, answer.requestId);
        }
        if (request.keyCheckValue !== undefined && keyCheckValue(answer.plaintext) !== request.keyCheckValue) {
          throw badAnswer(
            subject,
            'the data key is not the one that was made: its key check value differs',
            answer.requestId,
          );
        }
      },
      discard: (answer) => wipe(answer.plaintext),
    });
  }

  async #call<T extends Answer>(call: Call<T>): Promise<T> {
    const { operation, subject, deadline } = call;
    let last: KmsFailure | undefined;
    for (let attempt = 1; ; attempt += 1) {
      if (deadline.signal.aborted) throw timedOut(call, attempt - 1, last);
      const startedMs = this.#clock.monotonicMs();
      const elapsed = (): number => this.#clock.monotonicMs() - startedMs;
      this.#observer.attemptStarted({ operation, subject, attempt });
      let pauseMs: number;
      try {
        const answer = await this.#attempt(call);
        this.#observer.attemptEnded({ operation, subject, attempt }, elapsed(), { ok: true, answer });
        return answer;
      } catch (thrown) {
        const gaveUp = deadline.signal.aborted;
        const failure = gaveUp
          ? abandoned(last)
          : thrown instanceof KeyError
            ? refusedAnswer(thrown)
            : classifyKmsFailure(thrown);
        if (isThrottling(failure)) this.#limiter.throttled();
        const retryInMs = this.#retryInMs(failure, attempt, deadline);
        this.#observer.attemptEnded({ operation, subject, attempt }, elapsed(), { ok: false, failure, retryInMs });
        if (gaveUp) throw timedOut(call, attempt, last);
        if (thrown instanceof KeyError) throw thrown;
        if (retryInMs === undefined) throw failed(call, failure, attempt, thrown);
        last = failure;
        pauseMs = retryInMs;
      }
      await this.#clock.sleep(pauseMs, deadline.signal).catch(() => undefined);
    }
  }

  async #attempt<T extends Answer>({ deadline, send, check, discard }: Call<T>): Promise<T> {
    const answer = await this.#limiter.run(deadline.signal, () =>
      unlessAborted(send(deadline.signal), deadline.signal, discard),
    );
    this.#limiter.succeeded();
    try {
      check(answer);
      return answer;
    } catch (error) {
      discard(answer);
      throw error;
    }
  }

  #retryInMs(failure: KmsFailure, attempt: number, deadline: Deadline): number | undefined {
    if (failure.retry === 'no') return undefined;
    const pause = Math.max(backoffMs(attempt, this.#random), failure.retryAfterMs);
    const resumeMs = this.#clock.monotonicMs() + pause;
    // Counted from the start of everything that shares the deadline: a hundred keys wait no longer than one.
    if (failure.retry === 'briefly' && resumeMs - deadline.startedMs > BRIEFLY_MS) return undefined;
    return resumeMs < deadline.atMs ? pause : undefined;
  }
}

function badAnswer(subject: string, problem: string, requestId: string): KeyError {
  return new KeyError('KMS_BAD_ANSWER', `${subject}: KMS answered wrongly: ${problem}${inRequest(requestId)}`, {
    hint: 'nothing was changed; check that aws_key_management_endpoint_url is a KMS endpoint',
  });
}

/** An answer that came and was not what was asked for. */
function refusedAnswer({ message, hint }: KeyError): KmsFailure {
  return {
    kind: 'other',
    retry: 'no',
    name: 'WrongAnswer',
    message,
    requestId: '',
    status: 200,
    retryAfterMs: 0,
    hint,
  };
}

function abandoned(last: KmsFailure | undefined): KmsFailure {
  const message = 'given up at the deadline';
  return {
    kind: 'transient',
    retry: 'no',
    name: 'TimeoutError',
    message,
    requestId: '',
    status: 0,
    retryAfterMs: 0,
    hint: last?.hint ?? '',
  };
}

function failed({ operation, subject }: CallName, failure: KmsFailure, attempts: number, cause: unknown): KeyError {
  const times = attempts > 1 ? ` after ${attempts} attempts` : '';
  return new KeyError(CODES[failure.kind], `${subject}: KMS ${operation} failed${times}: ${describeFailure(failure)}`, {
    hint: failure.hint,
    cause,
  });
}

function timedOut(
  { operation, subject, deadline }: CallName,
  attempts: number,
  last: KmsFailure | undefined,
): KeyError {
  const seconds = Math.round((deadline.atMs - deadline.startedMs) / 100) / 10;
  if (attempts === 0) {
    return new KeyError(
      'TIMEOUT',
      `${subject}: KMS ${operation} was not tried: the ${seconds} s allowed were used up before`,
      {
        hint: 'try again; what other keys met in that time is in the error log',
      },
    );
  }
  const reason = last === undefined ? 'no answer came' : `the last failure was ${describeFailure(last)}`;
  return new KeyError('TIMEOUT', `${subject}: KMS ${operation} did not succeed within ${seconds} s: ${reason}`, {
    hint: last?.hint ?? 'check that the server can reach the KMS endpoint, and that its credential source answers',
  });
}
