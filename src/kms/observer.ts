import type { KmsFailure } from '../kms-failure.ts';
import type { Answer, KmsOperation } from './client.ts';

/** Told of every attempt in every Region; never sees key bytes. */
export interface KmsObserver {
  attemptStarted(attempt: KmsAttempt): void;
  /** Not of an attempt that nobody needs any more, because another Region was a little faster. */
  attemptEnded(attempt: KmsAttempt, ms: number, outcome: AttemptOutcome): void;
}

export interface KmsAttempt {
  readonly operation: KmsOperation;
  /** Which key, as messages name it. */
  readonly subject: string;
  readonly attempt: number;
  readonly region: string;
  /** The Region and, when it was set, its endpoint. */
  readonly target: string;
}

export type AttemptOutcome =
  | {
      readonly ok: true;
      readonly answer: Answer;
      /** Why another Region than the first served. */
      readonly because: string | undefined;
    }
  | {
      readonly ok: false;
      readonly failure: KmsFailure;
      /** Until the next attempt; undefined: there is none. */
      readonly retryInMs: number | undefined;
      /** The Region that is asked instead. */
      readonly nextRegion: string | undefined;
    };
