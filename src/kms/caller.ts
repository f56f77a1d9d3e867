import type { Room } from '../bounded.ts';
import { wipe } from '../bytes.ts';
import type { Clock, Random } from '../clock.ts';
import { type ErrorCode, KeyError } from '../errors.ts';
import type { FailureKind, KmsFailure } from '../kms-failure.ts';
import { problemOfDecrypted, problemOfGenerated, type UnwrapRequest, WRONG_ANSWER } from './answers.ts';
import {
  type Answer,
  type DataKeyClient,
  type DecryptedKey,
  type DecryptRequest,
  type GeneratedKey,
  type GenerateRequest,
  MOST_CALLS_AT_ONCE,
} from './client.ts';
import {
  askRegions,
  type Question,
  Region,
  type RegionalFailure,
  type Served,
  silence,
  type Unanswered,
} from './failover.ts';
import { describeFailure, inRequest, retryAfterOf } from './failures/classify.ts';
import { isMultiRegion, masterKeyInRegion } from './master-key.ts';
import type { KmsObserver } from './observer.ts';
import { backoffMs, type Deadline, startDeadline } from './retry.ts';

export type Call<T extends Answer> = Omit<Question<T>, 'attempt' | 'pauseAfter'>;

/** The answers of the Regions to a dry run of unwrapping a key. */
export interface ProbeResult {
  /** The first Region that would unwrap it; undefined: none. */
  readonly servedBy: string | undefined;
  /** The failures of the Regions before it. */
  readonly failures: readonly RegionalFailure[];
}

const BRIEFLY_MS = 10_000;
/**
 * The `spreadMs` of a server's agent, in milliseconds. A thousand servers that start at once then make their first
 * calls at ten thousand a second, KMS's smallest quota for them; the limiter holds back later calls. It is not
 * noticeable with one server.
 */
export const START_SPREAD_MS = 100;
/** Milliseconds; one silent Region must not use up the time of the next. */
const PROBE_MS = 8_000;

const CODES: Readonly<Record<FailureKind, ErrorCode>> = {
  operator: 'KMS_OPERATOR',
  transient: 'KMS_TRANSIENT',
  corrupt: 'KMS_CORRUPT',
  other: 'KMS_BAD_ANSWER',
};

/**
 * Unwraps keys with retries until a deadline, tries further Regions for keys that may have replicas there, and checks
 * every answer.
 */
export class UnwrapCaller {
  readonly #clients: readonly [DataKeyClient, ...DataKeyClient[]];
  readonly #regions: readonly Region[];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #observer: KmsObserver;
  readonly #spreadMs: number;
  /** The earliest time of the first call on the monotonic clock. */
  readonly #startMs: number;
  #isPrepared = false;
  /** Calls between two attempts. */
  #pausing = 0;
  readonly #watchers = new Set<() => void>();

  /**
   * @param clients in the order of attempts; keys are created in the first Region only
   * @param spreadMs range of the random time before which no call is made, counted from now: it spreads the load when many
   * callers start at once
   */
  constructor(
    clients: readonly [DataKeyClient, ...DataKeyClient[]],
    clock: Clock,
    random: Random,
    observer: KmsObserver,
    spreadMs = 0,
  ) {
    this.#clients = clients;
    this.#regions = clients.map((client) => new Region(client, clock));
    this.#clock = clock;
    this.#random = random;
    this.#observer = observer;
    this.#spreadMs = spreadMs;
    this.#startMs = spreadMs > 0 ? clock.monotonicMs() + random() * spreadMs : Number.NEGATIVE_INFINITY;
  }

  get hasOneRegion(): boolean {
    return this.#regions.length === 1;
  }

  /**
   * The keys that may be unwrapped at a time: no more than KMS is called for, because a waiting call takes memory that
   * V8 copies again and again. Calls between two attempts leave their place to others.
   */
  get room(): Room {
    const [{ limiter } = {}, ...others] = this.#regions;
    const most = (): number =>
      limiter === undefined || others.length > 0
        ? MOST_CALLS_AT_ONCE
        : Math.min(MOST_CALLS_AT_ONCE, limiter.limit + this.#pausing);
    return {
      get most() {
        return most();
      },
      watch: (look) => {
        this.#watchers.add(look);
        return () => void this.#watchers.delete(look);
      },
    };
  }

  /** The Region in which keys are created. */
  get region(): string {
    return this.#regions[0]?.name ?? '';
  }

  /** A caller for each Region that uses no other. */
  get perRegion(): readonly [UnwrapCaller, ...UnwrapCaller[]] {
    const [first, ...others] = this.#clients;
    const only = (client: DataKeyClient): UnwrapCaller =>
      new UnwrapCaller([client], this.#clock, this.#random, this.#observer, this.#spreadMs);
    return [only(first), ...others.map(only)];
  }

  /** Unwraps a key. The caller wipes the plaintext. @throws KeyError KMS_…, TIMEOUT */
  async decrypt(subject: string, request: UnwrapRequest, deadline: Deadline): Promise<DecryptedKey> {
    const call: Call<DecryptedKey> = {
      operation: 'Decrypt',
      subject,
      send: (client, signal) => client.decrypt(inRegion(request, client.region), signal),
      problemOf: (answer) => problemOfDecrypted(answer, request),
      discard: (answer) => wipe(answer.plaintext),
    };
    const { answer, servedBy } = await this.#call(
      call,
      this.#regionsFor(request),
      deadline,
      ({ failure }) => request.isContextGuessed === true && failure.kind === 'corrupt',
    );
    return servedBy === this.#regions[0]?.name ? answer : { ...answer, servedBy };
  }

  /** Asks the Regions one after the other, once, whether they would unwrap the key, until one would. */
  async probe(subject: string, request: DecryptRequest, deadline: Deadline): Promise<ProbeResult> {
    await this.#untilSpread(deadline);
    const failures: RegionalFailure[] = [];
    for (const region of this.#regionsFor(request)) {
      const limit = startDeadline(this.#clock, PROBE_MS, deadline.signal);
      const question: Question<Answer> = {
        operation: 'Decrypt',
        subject: `${subject}, dry run`,
        attempt: 1,
        send: (client, signal) => client.probe(inRegion(request, client.region), signal),
        problemOf: () => undefined,
        discard: () => undefined,
        pauseAfter: () => undefined,
      };
      try {
        const result = await this.#ask(question, [region], limit.signal);
        if (result !== undefined && 'answer' in result) return { servedBy: result.servedBy, failures };
        failures.push(
          result?.decisive ?? { region: region.name, failure: silence('no answer came'), thrown: undefined },
        );
      } finally {
        limit.cancel();
      }
    }
    return { servedBy: undefined, failures };
  }

  /** Makes a call that only the first Region can serve. @throws KeyError KMS_…, TIMEOUT */
  protected async askFirst<T extends Answer>(call: Call<T>, deadline: Deadline): Promise<T> {
    return (await this.#call(call, this.#regions.slice(0, 1), deadline)).answer;
  }

  /**
   * Without a sidecar it is unknown whether the master key has replicas: trying another Region costs a call, not trying
   * may cost the key.
   */
  #regionsFor({ masterKeyArn }: DecryptRequest): readonly Region[] {
    return masterKeyArn === undefined || isMultiRegion(masterKeyArn) ? this.#regions : this.#regions.slice(0, 1);
  }

  /** @param endsIt tells whether one Region's failure ends the call, although others may answer later */
  async #call<T extends Answer>(
    call: Call<T>,
    regions: readonly Region[],
    deadline: Deadline,
    endsIt: (failed: RegionalFailure) => boolean = () => false,
  ): Promise<Served<T>> {
    let last: Unanswered | undefined;
    if (this.#spreadLeftMs > 0) await this.#untilSpread(deadline);
    for (let attempt = 1; ; attempt += 1) {
      if (deadline.signal.aborted) throw timedOut(call, deadline, attempt - 1, last);
      const pauseAfter = (failed: RegionalFailure): number | undefined => this.#pauseAfter(failed, attempt, deadline);
      const result = await this.#ask({ ...call, attempt, pauseAfter }, regions, deadline.signal);
      if (result === undefined) throw timedOut(call, deadline, attempt, last);
      if ('answer' in result) return result;
      const end = result.failures.find(endsIt);
      if (end !== undefined) throw failed(call, { ...result, decisive: end, others: '' }, attempt);
      if (result.retryInMs === undefined) throw failed(call, result, attempt);
      last = result;
      await this.#pause(result.retryInMs, deadline);
    }
  }

  async #pause(ms: number, { signal }: Deadline): Promise<void> {
    this.#pausing += 1;
    for (const look of this.#watchers) look();
    await this.#clock.sleep(ms, signal).catch(() => undefined);
    this.#pausing -= 1;
  }

  #ask<T extends Answer>(question: Question<T>, regions: readonly Region[], signal: AbortSignal) {
    return askRegions(question, regions, { clock: this.#clock, observer: this.#observer }, signal);
  }

  get #spreadLeftMs(): number {
    return this.#startMs - this.#clock.monotonicMs();
  }

  async #untilSpread({ signal }: Deadline): Promise<void> {
    const leftMs = this.#spreadLeftMs;
    if (leftMs <= 0) return;
    if (!this.#isPrepared) {
      this.#isPrepared = true;
      this.#clients[0].prepare?.();
    }
    await this.#clock.sleep(leftMs, signal).catch(() => undefined);
  }

  #pauseAfter({ failure, thrown }: RegionalFailure, attempt: number, deadline: Deadline): number | undefined {
    if (failure.retry === 'no') return undefined;
    const pause = Math.max(backoffMs(attempt, this.#random), retryAfterOf(thrown, this.#clock.wallMs()));
    const resumeMs = this.#clock.monotonicMs() + pause;
    // Counted from the start of all calls under the deadline: a hundred keys wait no longer than one.
    if (failure.retry === 'briefly' && resumeMs - deadline.startedMs > BRIEFLY_MS) return undefined;
    return resumeMs < deadline.atMs ? pause : undefined;
  }
}

/** The KMS calls of a server, which also creates keys. */
export class KmsCaller extends UnwrapCaller {
  /** @throws KeyError KMS_…, TIMEOUT */
  async generate(subject: string, request: GenerateRequest, deadline: Deadline): Promise<GeneratedKey> {
    const call: Call<GeneratedKey> = {
      operation: 'GenerateDataKeyWithoutPlaintext',
      subject,
      send: (client, signal) => client.generateWrappedKey(request, signal),
      problemOf: problemOfGenerated,
      discard: () => undefined,
    };
    return await this.askFirst(call, deadline);
  }
}

/** A replica has the ARN of its own Region. */
export function inRegion(request: DecryptRequest, region: string): DecryptRequest {
  const { wrapped, masterKeyArn, encryptionContext } = request;
  return { wrapped, masterKeyArn: masterKeyArn && masterKeyInRegion(masterKeyArn, region), encryptionContext };
}

function failed<T extends Answer>(
  { operation, subject }: Call<T>,
  { decisive, others }: Unanswered,
  attempts: number,
): KeyError {
  const { region, failure, thrown } = decisive;
  const { kind, name, hint } = failure;
  const times = attempts > 1 ? ` after ${attempts} attempts` : '';
  const text =
    name === WRONG_ANSWER
      ? `${describeWrongAnswer(region, failure)}${bracketed(others)}`
      : `KMS ${operation} failed${times}: ${describe(region, failure, others)}`;
  return new KeyError(CODES[kind], `${subject}: ${text}`, { hint, cause: thrown, failure });
}

function describeWrongAnswer(region: string, { message, requestId }: KmsFailure): string {
  return `KMS in ${region} answered wrongly: ${message}${inRequest(requestId)}`;
}

/** Names the Region if more than one was tried. */
function describe(region: string, failure: KmsFailure, others: string): string {
  return others === '' ? describeFailure(failure) : `${region}: ${describeFailure(failure)}${bracketed(others)}`;
}

function bracketed(others: string): string {
  return others === '' ? '' : ` [${others}]`;
}

function timedOut<T extends Answer>(
  { operation, subject }: Call<T>,
  deadline: Deadline,
  attempts: number,
  last: Unanswered | undefined,
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
  const { decisive, others = '' } = last ?? {};
  const reason =
    decisive === undefined
      ? 'no answer came'
      : `the last failure was ${describe(decisive.region, decisive.failure, others)}`;
  return new KeyError('TIMEOUT', `${subject}: KMS ${operation} did not succeed within ${seconds} s: ${reason}`, {
    hint:
      decisive?.failure.hint ??
      'check that the server can reach the KMS endpoint, and that its credential source answers',
  });
}
