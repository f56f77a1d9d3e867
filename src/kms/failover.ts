import type { Clock } from '../clock.ts';
import type { FailureGroup, KmsFailure } from '../kms-failure.ts';
import type { Answer, DataKeyClient, KmsOperation } from './client.ts';
import { classifyKmsFailure, describeFailure, FAILURE_TABLE, isThrottling, retryAfterOf } from './failures/classify.ts';
import { CallLimiter } from './limiter.ts';
import type { AttemptOutcome, KmsAttempt, KmsObserver } from './observer.ts';
import { childOf, unlessAborted } from './retry.ts';

/** Milliseconds that one Region may be silent before the next is tried in parallel. */
export const HEDGE_AFTER_MS = 1_000;
/** Milliseconds for which a silent Region is tried together with the next: many keys wait for it once, not each. */
export const DOUBT_MS = 30_000;

/**
 * Failures that may be limited to a Region or its replica: the state, policy and grants of replicas are independent,
 * each Region has its own endpoint, and an account may not have opted in to all Regions. A wrong answer may be the
 * endpoint's fault: the next Region's answer passes the same checks.
 */
const REGIONAL_GROUPS: ReadonlySet<FailureGroup> = new Set([
  'master-key',
  'pending-deletion',
  'permission',
  'region',
  'opt-in',
  'tls',
  'answer',
]);

/** KMS in one Region, with its recent condition. */
export class Region {
  readonly client: DataKeyClient;
  readonly limiter: CallLimiter;
  readonly #clock: Clock;
  #silentMs = Number.NEGATIVE_INFINITY;
  #aloneUntilMs = Number.NEGATIVE_INFINITY;

  constructor(client: DataKeyClient, clock: Clock) {
    this.client = client;
    this.#clock = clock;
    this.limiter = new CallLimiter(() => clock.monotonicMs());
  }

  get name(): string {
    return this.client.region;
  }

  get patienceMs(): number {
    return this.#clock.monotonicMs() - this.#silentMs < DOUBT_MS ? 0 : HEDGE_AFTER_MS;
  }

  wasSilent(): void {
    if (this.patienceMs > 0) this.#silentMs = this.#clock.monotonicMs();
  }

  answered(): void {
    this.#silentMs = Number.NEGATIVE_INFINITY;
  }

  /** Avoids the Region for `ms` milliseconds, as it asked by Retry-After. */
  leaveAloneFor(ms: number): void {
    this.#aloneUntilMs = Math.max(this.#aloneUntilMs, this.#clock.monotonicMs() + ms);
  }

  get isLeftAlone(): boolean {
    return this.#clock.monotonicMs() < this.#aloneUntilMs;
  }
}

export interface Question<T extends Answer> {
  readonly operation: KmsOperation;
  /** The key's name in messages. */
  readonly subject: string;
  /** The round through the Regions, from 1. */
  readonly attempt: number;
  readonly send: (client: DataKeyClient, signal: AbortSignal) => Promise<T>;
  /** Returns the reason why an answer is not acceptable, or undefined. */
  readonly problemOf: (answer: T) => KmsFailure | undefined;
  /** Receives answers that are not used: refused, late and duplicate ones. */
  readonly discard: (answer: T) => void;
  /** Returns milliseconds until the next round after this failure; undefined: no further round. */
  readonly pauseAfter: (failed: RegionalFailure) => number | undefined;
}

export interface RegionalFailure {
  readonly region: string;
  readonly failure: KmsFailure;
  readonly thrown: unknown;
}

export interface Unanswered {
  /** The failure that decides about retries: a transient one if there is any, else the first Region's. */
  readonly decisive: RegionalFailure;
  readonly failures: readonly RegionalFailure[];
  /** The other Regions' failures in words; empty when there are none. */
  readonly others: string;
  readonly retryInMs: number | undefined;
}

export interface Served<T> {
  readonly answer: T;
  /** The name of the Region. */
  readonly servedBy: string;
}

export type RoundResult<T> =
  | Served<T>
  | Unanswered
  /** The signal was aborted. */
  | undefined;

interface Asked<T> {
  readonly region: Region;
  readonly attempt: KmsAttempt;
  /** The time of sending; undefined while the call waits for its turn. */
  readonly sentMs: () => number | undefined;
  readonly outcome: Promise<Outcome<T>>;
}

type Outcome<T> = { readonly answer: T } | { readonly failure: KmsFailure; readonly thrown: unknown };

export interface FailoverParts {
  readonly clock: Clock;
  readonly observer: KmsObserver;
}

/**
 * Makes a call in the Regions in their order: in the next one at once when a Region fails for regional reasons, and in
 * parallel when it is silent. The first acceptable answer wins.
 */
export async function askRegions<T extends Answer>(
  question: Question<T>,
  regions: readonly Region[],
  parts: FailoverParts,
  signal: AbortSignal,
): Promise<RoundResult<T>> {
  const { clock, observer } = parts;
  const willing = regions.filter(({ isLeftAlone }) => !isLeftAlone);
  const queue = willing.length > 0 ? willing : [...regions];
  // Creating a signal is expensive when many keys are unwrapped, and with one Region there is nothing to cancel
  // separately.
  const round = queue.length > 1 ? childOf(signal) : undefined;
  const running: Asked<T>[] = [];
  const failures: RegionalFailure[] = [];
  const reasons: string[] = [];
  let decidedBy: string | undefined;
  try {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) running.push(ask(question, next, parts, round?.signal ?? signal));
      const newest = running.at(-1);
      const patienceMs = newest?.region.patienceMs ?? 0;
      const settled = await settledOrLate(running, queue.length > 0, clock);
      if (signal.aborted) return undefined;
      if (settled === 'late') {
        for (const { region, sentMs } of running) if (sentMs() !== undefined) region.wasSilent();
        reasons.push(whyLate(newest, patienceMs));
        continue;
      }
      const { asked, outcome } = settled;
      const { region } = asked;
      const end = (result: AttemptOutcome): void => observer.attemptEnded(asked.attempt, msSince(asked, clock), result);
      running.splice(running.indexOf(asked), 1);
      if ('answer' in outcome) {
        region.answered();
        decidedBy = region.name;
        const because = region === regions[0] ? undefined : reasons.join('; ');
        end({ ok: true, answer: outcome.answer, because });
        return { answer: outcome.answer, servedBy: region.name };
      }
      const { failure, thrown } = outcome;
      const failed = { region: region.name, failure, thrown };
      if (failure.status > 0) region.answered();
      if (isThrottling(failure)) region.limiter.throttled();
      region.leaveAloneFor(retryAfterOf(thrown, clock.wallMs()));
      failures.push(failed);
      reasons.push(`${region.name}: ${describeFailure(failure)}`);
      // A refusal by the first Region of a wrapped key or of credentials applies everywhere. A refusal by another
      // Region counts only for that Region, which may not know the master key.
      const isSoEverywhere =
        region === regions[0] && failure.kind !== 'transient' && !REGIONAL_GROUPS.has(failure.group);
      const nextRegion = isSoEverywhere ? undefined : (queue[0] ?? running[0]?.region)?.name;
      if (nextRegion === undefined) {
        decidedBy = region.name;
        const result = unanswered(question, isSoEverywhere ? [failed] : failures, regions);
        end({ ok: false, failure, retryInMs: result.retryInMs, nextRegion });
        return result;
      }
      end({ ok: false, failure, retryInMs: undefined, nextRegion });
    }
  } finally {
    for (const asked of running) giveUp(asked, question, parts, signal.aborted ? undefined : decidedBy);
    if (running.length > 0) round?.abort(new Error('another Region answered'));
    round?.release();
  }
}

function ask<T extends Answer>(
  { operation, subject, attempt, send, problemOf, discard }: Question<T>,
  region: Region,
  { clock, observer }: FailoverParts,
  signal: AbortSignal,
): Asked<T> {
  const { client, limiter } = region;
  const asked: KmsAttempt = { operation, subject, attempt, region: client.region, target: client.description };
  let sentMs: number | undefined;
  const answer = limiter.run(signal, () => {
    sentMs = clock.monotonicMs();
    observer.attemptStarted(asked);
    return unlessAborted(send(client, signal), signal, discard);
  });
  const outcome = answer.then(
    (good) => {
      limiter.succeeded(sentMs === undefined ? 0 : clock.monotonicMs() - sentMs);
      const failure = problemOf(good);
      if (failure === undefined) return { answer: good };
      discard(good);
      return { failure, thrown: undefined };
    },
    (thrown: unknown) => ({ failure: classifyKmsFailure(thrown), thrown }),
  );
  return { region, attempt: asked, sentMs: () => sentMs, outcome };
}

function whyLate<T>(newest: Asked<T> | undefined, patienceMs: number): string {
  if (newest === undefined) return 'no Region is left';
  const { region, sentMs } = newest;
  if (patienceMs === 0) return `${region.name} was silent before`;
  return sentMs() === undefined ? `${region.name} throttles` : `${region.name} did not answer within ${patienceMs} ms`;
}

/**
 * Returns the first call to settle, or `late` when the newest was silent for too long. Waiting for its turn counts only
 * if the Region throttles.
 */
async function settledOrLate<T>(
  running: readonly Asked<T>[],
  isAnotherLeft: boolean,
  clock: Clock,
): Promise<'late' | { readonly asked: Asked<T>; readonly outcome: Outcome<T> }> {
  const newest = running.at(-1);
  // A start makes thousands of calls of a single Region, and a race costs more than waiting for one.
  if (newest !== undefined && running.length === 1 && !isAnotherLeft)
    return { asked: newest, outcome: await newest.outcome };
  if (newest === undefined || !isAnotherLeft) return await firstSettled(running, undefined, clock);
  for (;;) {
    const { patienceMs } = newest.region;
    const settled = await firstSettled(running, Math.max(0, patienceMs - msSince(newest, clock)), clock);
    if (settled !== 'late') return settled;
    const { patienceMs: nowMs, limiter } = newest.region;
    const isLate = newest.sentMs() === undefined ? limiter.isHeldBack : msSince(newest, clock) >= patienceMs;
    if (nowMs === 0 || isLate) return 'late';
  }
}

/** Returns the first call to settle, or `late` after that time. */
async function firstSettled<T>(
  running: readonly Asked<T>[],
  patienceMs: number | undefined,
  clock: Clock,
): Promise<'late' | { readonly asked: Asked<T>; readonly outcome: Outcome<T> }> {
  const settled = running.map(async (asked) => ({ asked, outcome: await asked.outcome }));
  if (patienceMs === undefined) return await Promise.race(settled);
  const timer = new AbortController();
  const late = clock.sleep(patienceMs, timer.signal).then(
    () => 'late' as const,
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([...settled, late]);
  } finally {
    timer.abort();
  }
}

function unanswered<T extends Answer>(
  { pauseAfter }: Question<T>,
  failures: readonly RegionalFailure[],
  regions: readonly Region[],
): Unanswered {
  const ordered = regions.flatMap(({ name }) => failures.filter(({ region }) => region === name));
  const decisive = ordered.find(({ failure }) => failure.kind === 'transient') ?? ordered[0];
  if (decisive === undefined) throw new Error('no Region was asked');
  const others = ordered.filter((other) => other !== decisive);
  return {
    decisive,
    failures: ordered,
    others: others.map(({ region, failure }) => `${region}: ${describeFailure(failure)}`).join('; '),
    retryInMs: pauseAfter(decisive),
  };
}

/** Abandons a call. That counts as a failure if the time ran out, or if the Region was silent for too long. */
function giveUp<T extends Answer>(
  asked: Asked<T>,
  { discard }: Question<T>,
  { clock, observer }: FailoverParts,
  decidedBy: string | undefined,
): void {
  void asked.outcome.then((outcome) => {
    if ('answer' in outcome) discard(outcome.answer);
  });
  if (asked.sentMs() === undefined) return;
  const ms = msSince(asked, clock);
  if (decidedBy !== undefined && ms < HEDGE_AFTER_MS) return;
  const failure = silence(
    decidedBy === undefined ? 'given up at the deadline' : `no answer within ${Math.round(ms)} ms`,
  );
  observer.attemptEnded(asked.attempt, ms, { ok: false, failure, retryInMs: undefined, nextRegion: decidedBy });
}

export function silence(message: string): KmsFailure {
  const hint = FAILURE_TABLE['TimeoutError']?.hint ?? '';
  const row = { kind: 'transient', group: 'network', retry: 'no', hint } as const;
  return { ...row, name: 'TimeoutError', message, about: [], requestId: '', status: 0 };
}

function msSince<T>({ sentMs }: Asked<T>, clock: Clock): number {
  const nowMs = clock.monotonicMs();
  return nowMs - (sentMs() ?? nowMs);
}
