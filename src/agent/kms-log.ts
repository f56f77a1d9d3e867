import type { Clock } from '../clock.ts';
import type { Counter, Severity } from '../format/messages.ts';
import type { LogLevel } from '../keyring/settings.ts';
import { logs } from '../keyring/settings.ts';
import type { KmsObserver } from '../kms/caller.ts';
import { describeFailure } from '../kms/classify.ts';
import type { KmsOperation } from '../kms/client.ts';
import type { FailureKind } from '../kms/failure-row.ts';

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

const TELL_EVERY_MS = 10_000;

export interface KmsLogParts {
  readonly logLevel: () => LogLevel;
  readonly target: string;
  readonly clock: Clock;
  readonly log: (severity: Severity, text: string) => void;
  readonly count: (counter: Counter) => void;
}

/** Turns KMS calls into log lines as `aws_key_management_log_level` wants them, and into counters. */
export function createKmsLog({ logLevel, target, clock, log, count }: KmsLogParts): KmsObserver {
  /** Now and then, also at level Off: why somebody waits, or that a Region is out. */
  const saidMs = new Map<string, number>();
  const tellSometimes = (topic: string, text: string): void => {
    if (clock.monotonicMs() - (saidMs.get(topic) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return;
    saidMs.set(topic, clock.monotonicMs());
    log('warning', text);
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
        const { servedBy } = outcome.answer;
        if (servedBy !== undefined) {
          tellSometimes(
            servedBy.region,
            `AWS KMS ${operation}: ${subject}: served by ${servedBy.region}: ${servedBy.because}`,
          );
        }
        const key = logs(logLevel(), 'Debug') ? `, master key ${outcome.answer.masterKeyArn}` : '';
        write(
          'Info',
          'note',
          `AWS KMS ${operation}: ${subject}: succeeded (${took}, request ${outcome.answer.requestId}${key})`,
        );
        return;
      }
      count(ERRORS[outcome.failure.kind]);
      const failure = `AWS KMS ${operation}: ${subject}: ${describeFailure(outcome.failure)} (${took})`;
      if (outcome.retryInMs === undefined) write('Error', 'error', failure);
      else if (!logs(logLevel(), 'Warn')) tellSometimes('waiting', `${failure}; trying again`);
      else log('warning', `${failure}; next attempt in ${Math.round(outcome.retryInMs)} ms`);
    },
  };
}
