import type { KeyError } from '../errors.ts';
import { namesOf } from '../operate/rotate/plan.ts';
import type { NewVersion } from '../operate/rotate/versions.ts';
import type { Retired } from '../operate/rotate/wait.ts';
import { printableJson } from '../printable.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { withoutSecrets } from './system.ts';

/** The result of a run, also of one that ended early. */
export interface RotateReport {
  readonly server: string;
  readonly dryRun: boolean;
  /** The keys that were chosen. */
  readonly keyIds: readonly number[];
  /** Keys younger than --older-than. */
  readonly young: readonly number[];
  readonly undated: readonly KeyError[];
  readonly notes: readonly string[];
  readonly rotated: readonly NewVersion[];
  readonly untried: readonly number[];
  readonly rebuilt: readonly string[];
  readonly notRebuilt: readonly string[];
  /** Versions that no tablespace is under any more, by the server; undefined: not waited to the end. */
  readonly retired: readonly Retired[] | undefined;
  /** `agrees`: no page in use on the disk is under a retired version. */
  readonly disk: 'agrees' | 'disagrees' | 'not looked at';
  /** The reason why the disk was not looked at, or the files that disagree. */
  readonly diskFound: readonly string[];
  readonly interrupted: boolean;
  readonly problems: readonly KeyError[];
}

export function statusOf({ problems, interrupted, undated, retired, disk }: RotateReport): number {
  if (problems.length > 0 || interrupted || disk === 'disagrees') return FAILED;
  return undated.length > 0 || (retired !== undefined && disk === 'not looked at') ? INCOMPLETE : 0;
}

export function reportAsJson(report: RotateReport): string {
  const { problems, undated, retired, ...facts } = report;
  return printableJson(
    {
      ok: statusOf(report) === 0,
      ...facts,
      retired: retired?.map(({ keyId, version }) => ({ keyId, keyVersion: version })),
      undated: problemsAsJson(undated.map(withoutSecrets)),
      problems: problemsAsJson(problems.map(withoutSecrets)),
    },
    2,
  );
}

/** Prints the result. Its notes were printed before. */
export function printReport(io: CliIo, report: RotateReport, again: string): void {
  const { rotated, untried, rebuilt, notRebuilt, retired, disk, interrupted } = report;
  for (const line of versionLines(rotated)) io.stdout(line);
  if (rebuilt.length > 0) io.stdout(`rebuilt: ${namesOf(rebuilt)}`);
  for (const line of retiredLines(retired)) io.stdout(line);
  if (retired !== undefined && disk === 'agrees' && retired.length > 0)
    io.stdout('the disk agrees: no page in use is under these versions');
  if (interrupted) {
    io.stderr(
      `mariadb-aws-kms: interrupted; ${rotated.length === 0 ? 'no version was made' : 'the versions above are made'}, and the server goes on by itself`,
    );
    if (untried.length > 0) io.stderr(`mariadb-aws-kms: not rotated: ${namesOf(untried.map((id) => `key ${id}`))}`);
    if (notRebuilt.length > 0) io.stderr(`mariadb-aws-kms: not rebuilt, and as they were: ${namesOf(notRebuilt)}`);
    io.stderr(`hint: to go on: ${again}`);
  }
  printOutcome(io, report);
  if (disk === 'disagrees') io.stderr(`hint: look again later: ${again}`);
}

/** Prints what scripts with --quiet want, too. */
export function printOutcome(io: CliIo, { problems, undated, retired, disk, diskFound }: RotateReport): void {
  printProblems(io, undated.map(withoutSecrets));
  printProblems(io, problems.map(withoutSecrets));
  if (disk === 'disagrees')
    io.stderr(`mariadb-aws-kms: error: the disk still has pages under retired versions: ${namesOf(diskFound)}`);
  if (retired !== undefined && disk === 'not looked at' && diskFound.length > 0)
    io.stderr(`mariadb-aws-kms: warning: the disk was not looked at: ${namesOf(diskFound)}`);
}

function versionLines(rotated: readonly NewVersion[]): readonly string[] {
  if (rotated.length === 0) return [];
  const named = rotated.map(({ keyId, from, to }) => `key ${keyId}: version ${from} to ${to}`);
  return named.length <= 10 ? named : [`${named.length} keys: ${namesOf(named)}`];
}

function retiredLines(retired: readonly Retired[] | undefined): readonly string[] {
  if (retired === undefined) return [];
  if (retired.length === 0) return ['nothing to wait for: the server moves no data before the next rotation'];
  return [
    `no data is left under ${namesOf(retired.map(({ keyId, version }) => `key ${keyId} version ${version} or less`))}`,
  ];
}
