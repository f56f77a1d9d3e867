import { systemErrorCode, toKeyError } from '../errors.ts';
import { type CheckId, type Finding, failure, type Report, skipped } from '../finding.ts';
import type { KmsInspector, Reached } from '../kms/inspect.ts';
import { type Deadline, startDeadline, unlessAborted } from '../kms/retry.ts';
import { withOwnerNames } from '../server/account.ts';
import { readConfiguration } from '../server/configuration.ts';
import { findKeyKeeper, type KeptConfiguration, keeperHint } from '../server/key-keeper.ts';
import { kmsTarget } from '../server/kms-target.ts';
import { withOptionPlace } from '../server/option-place.ts';
import type { DoctorRequest } from '../server/request.ts';
import { adoptEnvironment } from '../server/service/server-environment.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { Check, Examination } from './check.ts';
import { ALL_CHECKS } from './checks.ts';

/** Milliseconds. */
export interface Limits {
  /** For each check that has no limit of its own. */
  readonly checkMs: number;
  readonly allMs: number;
}

const LIMITS: Limits = { checkMs: 10_000, allMs: 60_000 };
/** Milliseconds after its limit in which a check may still report; then its result is ignored. */
const GRACE_MS = 500;

/**
 * Runs every check, one after the other. Only the number of key versions makes the time limit longer. Errors that a
 * check meets become findings, and are never thrown.
 * @param checks those to run, with all that they need
 */
export async function examine(
  request: DoctorRequest,
  surroundings: Surroundings,
  checks: readonly Check[] = ALL_CHECKS,
  limits = LIMITS,
): Promise<readonly Finding[]> {
  const { clock } = surroundings;
  let all = startDeadline(clock, limits.allMs);
  let examination: OpenExamination | undefined;
  try {
    const configuration = await readInTime(request, surroundings, limits, all);
    examination = openExamination(surroundings, configuration, limits);
    const findings: Finding[] = configuration.reports.map((report) => ({ check: 'option-files', ...report }));
    for (const check of checks) {
      const leftMs = all.atMs - clock.monotonicMs();
      const reports = await reportsOf(check, examination, findings, { ...limits, all });
      findings.push(...reports.map((report) => ({ check: check.id, ...report })));
      if (check.limitMs !== undefined && leftMs > 0) {
        all.cancel();
        all = startDeadline(clock, leftMs);
      }
    }
    return findings;
  } finally {
    all.cancel();
    await examination?.close();
  }
}

interface OpenExamination extends Examination {
  close(): Promise<void>;
}

async function readInTime(
  request: DoctorRequest,
  surroundings: Surroundings,
  { checkMs }: Limits,
  all: Deadline,
): Promise<KeptConfiguration> {
  const deadline = startDeadline(surroundings.clock, checkMs, all.signal);
  try {
    return await unlessAborted(
      readConfiguration(request, surroundings, deadline.signal).then((read) => findKeyKeeper(read, surroundings)),
      deadline.signal,
      () => undefined,
    );
  } finally {
    deadline.cancel();
  }
}

function openExamination(
  surroundings: Surroundings,
  configuration: KeptConfiguration,
  { checkMs }: Limits,
): OpenExamination {
  let kms: Promise<KmsInspector> | undefined;
  let reached: Promise<Reached> | undefined;
  const { account, service } = configuration.keeper;
  const connect = (): Promise<KmsInspector> => {
    kms ??= surroundings.connectKms(kmsTarget(surroundings, { ...configuration, account, service }, checkMs / 2));
    return kms;
  };
  return {
    surroundings,
    configuration,
    // The environment is completed before anything connects, because the credential chain reads it.
    adoption: adoptEnvironment(surroundings.environment, service, surroundings.uid === 0 && account.uid === 0),
    facts: { stored: [], identity: '' },
    kms: connect,
    reach: async (signal) => {
      reached ??= connect().then((inspector) => inspector.reach(signal));
      return await reached;
    },
    close: async () => {
      await kms?.then(
        (inspector) => inspector.close(),
        () => undefined,
      );
    },
  };
}

async function reportsOf(
  check: Check,
  examination: Examination,
  before: readonly Finding[],
  { checkMs, allMs, all }: Limits & { readonly all: Deadline },
): Promise<readonly Report[]> {
  const unneeded = check.unneeded?.(examination.configuration);
  if (unneeded !== undefined) return [skipped(unneeded)];
  const missing = check.needs?.find((id) => isUnusable(id, before));
  if (missing !== undefined) return [skipped(`not looked at: ${missing} must be right first`)];
  if (all.signal.aborted) return [outOfTime(check, allMs)];
  const { clock } = examination.surroundings;
  const ownMs = check.limitMs?.(examination);
  const limitMs = ownMs ?? checkMs;
  const soft = startDeadline(clock, limitMs, ownMs === undefined ? all.signal : undefined);
  const hard = startDeadline(clock, limitMs + GRACE_MS);
  try {
    const reports = await unlessAborted(check.run(examination, soft.signal), hard.signal, () => undefined);
    return await Promise.all(reports.map(async (report) => placed(examination, forWhoeverRuns(examination, report))));
  } catch (thrown) {
    if (soft.signal.aborted || hard.signal.aborted) return [outOfTime(check, limitMs)];
    if (isPermission(thrown)) return [unseen(examination, thrown)];
    const { message, hint } = toKeyError(thrown);
    if (check.isOptional === true) return [skipped(`could not be looked at: ${message}`)];
    return [await placed(examination, forWhoeverRuns(examination, failure(message, hint)))];
  } finally {
    soft.cancel();
    hard.cancel();
  }
}

function isPermission(thrown: unknown): thrown is Error {
  return systemErrorCode(thrown) === 'EACCES' || systemErrorCode(thrown) === 'EPERM';
}

/** Replaces the fix of a denied access by another user than the server's: the server itself may have that access. */
function forWhoeverRuns({ surroundings: { uid }, configuration: { account } }: Examination, report: Report): Report {
  if (uid === 0 || uid === account.uid || !/\b(?:EACCES|EPERM)\b/.test(report.found)) return report;
  return { ...report, fix: `run this as root or as ${account.name}` };
}

/** Owners by name; the fix in the terms of the process that has the keys; a line of an option file says where it belongs. */
async function placed({ surroundings, configuration }: Examination, unnamed: Report): Promise<Report> {
  const report = { ...unnamed, found: await withOwnerNames(unnamed.found, surroundings) };
  if (report.fix === undefined) return report;
  const fix = keeperHint(configuration.keeper, report.fix);
  return { ...report, fix: await withOptionPlace(fix, configuration, surroundings) };
}

/** Nothing is known of the server here, which is not the same as no problem. */
function unseen({ configuration }: Examination, error: Error): Report {
  const fix = `run this as root or as ${configuration.account.name}`;
  return failure(`whoever runs this may not look there: ${error.message}`, fix);
}

function isUnusable(id: CheckId, findings: readonly Finding[]): boolean {
  return findings.some(({ check, status }) => check === id && (status === 'failure' || status === 'skipped'));
}

function outOfTime(check: Check, ms: number): Report {
  const found = `no result within ${ms / 1000} s`;
  if (check.isOptional === true) return skipped(found);
  return failure(found, 'find out what hangs: the network, a credential source, or a file system');
}
