import type { Clock } from '../clock.ts';
import type { Counter, Severity } from '../format/messages.ts';
import { LOG_LEVELS, type LogLevel } from '../format/settings.ts';
import { WRONG_ANSWER } from '../kms/answers.ts';
import type { KmsOperation } from '../kms/client.ts';
import { describeFailure } from '../kms/failures/classify.ts';
import type { KmsObserver } from '../kms/observer.ts';
import type { FailureKind } from '../kms-failure.ts';

/** The KMS operations of a server. */
const CALLS: Readonly<Partial<Record<KmsOperation, Counter>>> = {
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
  readonly clock: Clock;
  readonly log: (severity: Severity, text: string) => void;
  readonly count: (counter: Counter) => void;
}

function logs(configured: LogLevel, level: LogLevel): boolean {
  return LOG_LEVELS.indexOf(configured) >= LOG_LEVELS.indexOf(level);
}

/** Turns KMS calls into counters and log lines, as `aws_key_management_log_level` selects them. */
export function createKmsLog({ logLevel, clock, log, count }: KmsLogParts): KmsObserver {
  /** Logged now and then, also at level Off: reasons why a caller waits, or that a Region fails. */
  const saidMs = new Map<string, number>();
  const tellSometimes = (severity: Severity, topic: string, text: string): void => {
    if (clock.monotonicMs() - (saidMs.get(topic) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return;
    saidMs.set(topic, clock.monotonicMs());
    log(severity, text);
  };
  const write = (level: LogLevel, severity: Severity, text: () => string): void => {
    if (logs(logLevel(), level)) log(severity, text());
  };
  return {
    attemptStarted({ operation, subject, attempt, target }) {
      const counter = CALLS[operation];
      if (counter !== undefined) count(counter);
      write('Trace', 'note', () => `AWS KMS ${operation}: ${subject}: attempt ${attempt} to ${target}`);
    },
    attemptEnded({ operation, subject, attempt, region }, ms, outcome) {
      const prefix = `AWS KMS ${operation}: ${subject}: `;
      const took = `attempt ${attempt} in ${region}, ${Math.round(ms)} ms`;
      if (outcome.ok) {
        const { because, answer } = outcome;
        if (because !== undefined)
          tellSometimes('warning', `served by ${region}`, `${prefix}served by ${region}: ${because}`);
        const key = logs(logLevel(), 'Debug') ? `, master key ${answer.masterKeyArn}` : '';
        write('Info', 'note', () => `${prefix}succeeded (${took}, request ${answer.requestId}${key})`);
        return;
      }
      const { failure, retryInMs, nextRegion } = outcome;
      count(ERRORS[failure.kind]);
      const text = `${prefix}${describeFailure(failure)} (${took})`;
      if (nextRegion !== undefined) {
        // Another Region served the call, but a wrong answer must be investigated nevertheless.
        if (failure.name === WRONG_ANSWER)
          tellSometimes('error', `wrong answer of ${region}`, `${text}; going on with ${nextRegion}`);
        else write('Warn', 'warning', () => `${text}; going on with ${nextRegion}`);
      } else if (retryInMs === undefined) write('Error', 'error', () => text);
      else if (logs(logLevel(), 'Warn')) log('warning', `${text}; next attempt in ${Math.round(retryInMs)} ms`);
      else tellSometimes('warning', 'waiting', `${text}; trying again`);
    },
  };
}
