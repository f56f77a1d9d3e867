import type { Clock } from '../clock.ts';
import type { Counter, Severity } from '../format/messages.ts';
import type { LogLevel } from '../keyring/settings.ts';
import { logs } from '../keyring/settings.ts';
import { describeFailure, type KmsObserver } from '../kms/caller.ts';
import type { FailureKind } from '../kms/classify.ts';
import type { KmsOperation } from '../kms/client.ts';

const CALLS: Readonly<Record<KmsOperation, Counter>> = {
  GenerateDataKeyWithoutPlaintext: 'generateCalls',
  Decrypt: 'decryptCalls',
};

const ERRORS: Readonly<Record<FailureKind, Counter>> = {
  operator: 'operatorErrors',
  transient: 'transientErrors',
  corrupt: 'corruptErrors',
  other: 'otherErrors',
};

const EXPLAIN_EVERY_MS = 10_000;

export interface KmsLogParts {
  readonly logLevel: () => LogLevel;
  readonly target: string;
  readonly clock: Clock;
  readonly log: (severity: Severity, text: string) => void;
  readonly count: (counter: Counter) => void;
}

/** Turns KMS calls into log lines as `aws_key_management_log_level` wants them, and into counters. */
export function createKmsLog({ logLevel, target, clock, log, count }: KmsLogParts): KmsObserver {
  let saidMs = Number.NEGATIVE_INFINITY;
  /** Somebody waits while a failed call is tried again: the log says why, also at level Off, now and then. */
  const explainWaiting = (text: string): void => {
    if (clock.monotonicMs() - saidMs < EXPLAIN_EVERY_MS) return;
    saidMs = clock.monotonicMs();
    log('warning', `${text}; trying again`);
  };
  const write = (level: LogLevel, severity: Severity, text: string): void => {
    if (logs(logLevel(), level)) log(severity, text);
  };
  return {
    attemptStarted({ operation, subject, attempt }) {
      count(CALLS[operation]);
      write('Trace', 'note', `AWS KMS ${operation}: ${subject}: attempt ${attempt} to ${target}`);
    },
    attemptEnded({ operation, subject, attempt }, ms, outcome) {
      const took = `attempt ${attempt}, ${Math.round(ms)} ms`;
      if (outcome.ok) {
        const key = logs(logLevel(), 'Debug') ? `, master key ${outcome.masterKeyArn}` : '';
        write(
          'Info',
          'note',
          `AWS KMS ${operation}: ${subject}: succeeded (${took}, request ${outcome.requestId}${key})`,
        );
        return;
      }
      count(ERRORS[outcome.failure.kind]);
      const failure = `AWS KMS ${operation}: ${subject}: ${describeFailure(outcome.failure)} (${took})`;
      if (outcome.retryInMs === undefined) write('Error', 'error', failure);
      else if (!logs(logLevel(), 'Warn')) explainWaiting(failure);
      else log('warning', `${failure}; next attempt in ${Math.round(outcome.retryInMs)} ms`);
    },
  };
}
