/** KMS faults of every kind at every moment that calls it; `npm run reliability:kms` writes the same as a table. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  FAILURES as ALL_FAILURES,
  brokenByKms,
  type FailureReport,
  momentsOf,
  runFailures,
} from '../../campaigns/kms-failures.ts';
import type { Cell, Moment } from '../../harness/trial.ts';
import { Writers } from '../../harness/writers.ts';
import { TEMPLATE } from '../support/global-setup.ts';
import { startKms, startServer } from '../support/lab.ts';

/** Faults that end after a long time are left to the table. */
const FAILURES = ALL_FAILURES.filter(({ startTimeoutS }) => startTimeoutS === undefined);
const GENERATE = 'KMS (?:GenerateDataKeyWithoutPlaintext|ReEncrypt)';

/**
 * The message of giving up at the deadline, or before a pause that would end after it. A rotation that waited for
 * another one of the same key has little time left, perhaps for no attempt. On a busy machine an attempt may exceed its
 * second, whatever KMS does.
 */
function inVain(operation: string, seconds: string, reason: string): RegExp {
  return new RegExp(
    `: ${operation} (?:failed(?: after \\d+ attempts)?: ${reason}|did not succeed within ${seconds} s: (?:the last failure was (?:${reason}|TimeoutError: )|no answer came)|was not tried)`,
  );
}

const LASTING: Readonly<Record<string, string>> = {
  'refuses connections': 'ECONNREFUSED: connect ECONNREFUSED 127\\.0\\.0\\.1:\\d+',
  'takes connections and never answers': 'TimeoutError: ',
  'answers later than request_timeout': 'TimeoutError: ',
  'throttles all the time': 'ThrottlingException: You have exceeded the rate at which you may call KMS\\.',
  'has internal errors (status 500)': 'KMSInternalException',
  'is a proxy that sends HTML (status 502)': 'UnreadableAnswer: HTTP 502, text/html',
  'sends half an answer and hangs up': 'ECONNRESET: the connection ended in the middle of the answer',
};
/** The message without `key N version N`; none: the operation succeeds. */
const SAID: Readonly<Record<string, { readonly start?: RegExp; readonly statements?: RegExp }>> = {
  ...Object.fromEntries(
    Object.entries(LASTING).map(([what, name]) => [
      what,
      {
        start: inVain('KMS Decrypt', '[\\d.]+', name),
        // 8 s for a new key, 30 for a rotation.
        statements: inVain(GENERATE, '(?:30|\\d)(?:\\.\\d)?', name),
      },
    ]),
  ),
  'is slow, within request_timeout': {},
  'throttles for a moment': {},
  'denies access': {
    start: /: KMS Decrypt failed: AccessDeniedException: the identity is not authorized/,
    statements: new RegExp(`: ${GENERATE} failed: AccessDeniedException: the identity is not authorized`),
  },
  'has its master key disabled': {
    start: /: KMS Decrypt failed: DisabledException: arn:\S+ is disabled\./,
    // The first of two keys that are rotated at once has the master key disabled for the second.
    statements:
      /: KMS (?:Decrypt|GenerateDataKeyWithoutPlaintext|ReEncrypt) failed: DisabledException: arn:\S+ is disabled\./,
  },
  'answers Decrypt with the KeyId of another master key': {
    start: /: KMS in us-east-1 answered wrongly: "KeyId" expected arn:\S+, got arn:/,
    statements: /: KMS in us-east-1 answered wrongly: "KeyId" expected arn:\S+, got arn:/,
  },
  'answers Decrypt with the plaintext of another data key': {
    start:
      /: KMS in us-east-1 answered wrongly: the data key is not the one that was made: its key check value differs/,
  },
  'answers ReEncrypt with the wrapped key of another data key': {
    statements:
      /: KMS in us-east-1 answered wrongly: the data key is not the one that was made: its key check value differs/,
  },
};

const KEYS: Readonly<Record<Moment, RegExp>> = {
  start: /^\[ERROR\] AWS KMS plugin: (?:key [13] version 1 \(file aws-kms-key\.[13]\.1\)|keys 1 and 3 version 1: KMS )/,
  create: /^\[ERROR\] AWS KMS plugin: key 50 version 1/,
  rotate: /^AWS KMS plugin: key 3 version 2/,
  // MariaDB truncates long messages: the end is missing when the reason is long.
  rotateAll: /^AWS KMS plugin: rotated 0 of 2 keys; key [13] version 2/,
  rewrap: /^not moved: (?:key (?:1|3|50) version \d \(file aws-kms-key\.|keys? (?:1|3|50)\b.* versions? \d.*: KMS )/,
};

describe('a server whose KMS', () => {
  let reports: readonly FailureReport[] = [];
  beforeAll(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mak-failures-'));
    try {
      reports = await runFailures(directory, TEMPLATE, FAILURES);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 900_000);

  function reportOf(what: string): FailureReport {
    const report = reports.find(({ failure }) => failure.what === what);
    if (report === undefined) throw new Error(`KMS that ${what} was not tried`);
    return report;
  }

  function cellOf(what: string, moment: Moment): Cell {
    const cell = reportOf(what).cells.find((each) => each.moment === moment);
    if (cell === undefined) throw new Error(`${moment} was not tried`);
    return cell;
  }

  describe.each(FAILURES)('$what', (failure) => {
    const { what, unseenWithNewKeys } = failure;
    it.each(momentsOf(failure))('%s succeeds, or fails with the reason', (moment) => {
      const { error, log } = cellOf(what, moment);
      const expected = moment === 'start' ? SAID[what]?.start : SAID[what]?.statements;
      if (expected === undefined) {
        expect(error).toBe('');
        return;
      }
      if (moment === 'start') expect(error).toContain('Failed to initialize plugins');
      if (moment === 'create')
        expect(error).toBe('Can\'t create table `d`.`fresh` (errno: 140 "Wrong create options")');
      const said = moment === 'start' || moment === 'create' ? log : [error];
      const reason = said.find((text) => expected.test(text));
      expect(reason, said.join('\n')).toBeDefined();
      expect(reason).toMatch(KEYS[moment]);
    });

    it('a failure changes nothing, loaded keys work, and new ones work when KMS has recovered', () => {
      const report = reportOf(what);
      expect(brokenByKms(report)).toEqual([]);
      // A control: without it, "unchanged" could mean that nothing was compared.
      for (const { moment, error, changed } of report.cells)
        if (moment !== 'start' && error === '') expect(changed).not.toEqual([]);
      if (unseenWithNewKeys)
        expect(report.nextStartError).toMatch(/key 50 versions? 1.*the data key is not the one that was made/);
    });
  });
});

it('a KMS that hangs for CREATE TABLE and a rotation delays no other session, and both succeed later', async () => {
  const kms = await startKms();
  const server = await startServer(kms, {
    aws_key_management_request_timeout: 1000,
    innodb_encrypt_tables: 'ON',
    innodb_flush_log_at_trx_commit: 2,
  });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB');
  const writers = await Writers.start(server, 'd.t', 4);
  kms.faults.set([{ kind: 'hang' }]);
  let ended = 0;
  const statements = [
    'CREATE TABLE d.fresh (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=50',
    'SET GLOBAL aws_key_management_rotate_key=1',
  ];
  const hanging = statements.map(async (statement) => {
    await server.sql(statement).finally(() => {
      ended += 1;
    });
  });
  writers.lap();
  for (let second = 1; second <= 2; second += 1) {
    await pause(1000);
    expect(writers.lap().commits, `in second ${second}`).toBeGreaterThan(0);
  }
  expect(ended).toBe(0);
  kms.faults.clear();
  const results = await Promise.allSettled(hanging);
  // On a machine as busy as that, the time of a statement may be over: then the next one succeeds.
  for (const [n, { status }] of results.entries()) if (status === 'rejected') await server.sql(statements[n] ?? '');
  await writers.stop();
});
