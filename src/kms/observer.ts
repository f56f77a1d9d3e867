import type { KmsFailure } from '../kms-failure.ts';
import type { Answer, KmsOperation } from './client.ts';

/** Receives every attempt in every Region. It never sees key bytes. */
export interface KmsObserver {
  attemptStarted(attempt: KmsAttempt): void;
  /** Called at the end of an attempt, unless another Region was faster and the attempt was abandoned. */
  attemptEnded(attempt: KmsAttempt, ms: number, outcome: AttemptOutcome): void;
}

export interface KmsAttempt {
  readonly operation: KmsOperation;
  /** The key's name in messages. */
  readonly subject: string;
  readonly attempt: number;
  readonly region: string;
  /** The Region and, if set, its endpoint. */
  readonly target: string;
}

export type AttemptOutcome =
  | {
      readonly ok: true;
      readonly answer: Answer;
      /** The reason why another Region than the first served. */
      readonly because: string | undefined;
    }
  | {
      readonly ok: false;
      readonly failure: KmsFailure;
      /** Milliseconds until the next attempt; undefined: there is none. */
      readonly retryInMs: number | undefined;
      /** The Region that is tried instead. */
      readonly nextRegion: string | undefined;
    };
