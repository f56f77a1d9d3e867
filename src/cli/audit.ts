import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { counted, size } from '../audit/amounts.ts';
import { type Audit, auditData, type Progress } from '../audit/audit.ts';
import { auditJson } from '../audit/json.ts';
import { needsOf, withUnneeded } from '../audit/needs.ts';
import { auditMetrics } from '../audit/prometheus.ts';
import { remarksOf } from '../audit/remarks.ts';
import { type AuditReport, isComplete } from '../audit/report.ts';
import {
  checksumRequirement,
  encryptedRequirement,
  parseVersionRequirement,
  type Requirement,
  type VersionRequirement,
  versionRequirement,
} from '../audit/requirements.ts';
import { conflictsOf } from '../audit/settings.ts';
import { auditText, fileLines } from '../audit/text.ts';
import { startFileThreads, type ThreadUse } from '../audit/threads.ts';
import type { Clock } from '../clock.ts';
import { KeyError } from '../errors.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { type AuditPlaces, auditPlaces, type PlaceOptions } from './audit-places.ts';
import { checkReports, type ReportOptions, withReports, writeReports } from './audit-reports.ts';
import { FAILED, INCOMPLETE, NOT_WRITTEN } from './exit-status.ts';
import { withOptionFiles } from './option-files.ts';
import { printProblems } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface AuditOptions extends PlaceOptions, ReportOptions {
  readonly requireEncrypted?: boolean;
  readonly requireVersion: readonly VersionRequirement[];
  readonly checksums?: boolean;
  readonly files?: boolean;
  readonly quiet?: boolean;
}

/** Milliseconds between two pictures of the progress. */
const REDRAW_MS = 100;
/** Files to name with --quiet. */
const SHORT = 10;
/** Threads beside the main one: one for each processor. More would wait for the disk, and take memory. */
const THREADS = Math.min(availableParallelism(), 4) - 1;
/** Starting a thread takes as long as reading so many bytes: of headers, and of pages with their checksums. */
const [WORTH_BYTES, WORTH_BYTES_WITH_CHECKSUMS] = [536_870_912, 134_217_728];
/** Sending a smaller file to a thread takes as long as reading it. */
const LARGE_BYTES = 1_048_576;
const HELP = `
Exit status:
  0  everything was read, and every requirement is met
  1  a requirement is not met, or --checksums found a damaged page
  2  bad usage
  3  INCOMPLETE: something could not be read, or nothing was found
  4  the file of --html or --prometheus was not written`;
const EXAMPLES = `
Example:
  mariadb-aws-kms audit --require-encrypted --require-version 5.3
  mariadb-aws-kms audit /backup/2030-01-01
  mariadb-aws-kms audit --files --checksums shop/*.ibd binlog.000042`;

/** `mariadb-aws-kms audit`. @throws KeyError BAD_OPTION, STORE_UNAVAILABLE */
export function auditCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withReports(withOptionFiles(new Command('audit')))
    .description(
      'tell what is encrypted, under which key versions, and what still needs each; it needs no key and no KMS, and reads files as root or the user of the server',
    )
    .argument('[file...]', 'data files, or directories with a copy or a backup, in place of the data of the server')
    .option('--datadir <directory>', 'override datadir; of another server than that of the option files, as a copy')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir: which key versions are stored')
    .option('--require-encrypted', 'end with status 1 when a file is in clear or partly so')
    .option(
      '--require-version <version>',
      'end with status 1 when a lower key version is in use: 3 for all keys, 5.3 for key 5 (repeatable)',
      versionRequirements,
      [],
    )
    .option('--checksums', 'verify the checksum of every InnoDB page: slower, and names damaged pages')
    .option('--files', 'print a line for each file, too')
    .option('--quiet', 'print nothing but what is not met or not read')
    .option(
      '--json',
      'print the result as JSON: { audited, ok, complete, requirements, keyVersions, files, unseen, … }',
    )
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLES)
    .action(async (paths: readonly string[], options: AuditOptions) => {
      const outside = surroundings();
      await checkReports(options, diskOf(outside));
      const places = await auditPlaces(paths, options, outside);
      if (options.prometheus !== undefined && (places.isOfFiles || paths.length > 1))
        throw new KeyError(
          'BAD_OPTION',
          '--prometheus: metrics are of one data directory, and not of files or several',
        );
      const report = await makeReport(places, options, outside, io);
      print(report, options, io);
      const problems = await writeReports(options, report, diskOf(outside));
      printProblems(io, problems);
      io.exit(problems.length === 0 ? statusOf(report) : NOT_WRITTEN);
    });
}

function print(report: AuditReport, options: AuditOptions, io: CliIo): void {
  if (options.json) io.stdout(auditJson(report), 'prepared');
  else if (options.prometheus === true || options.quiet) {
    if (options.prometheus === true) io.stdout(auditMetrics(report).trimEnd(), 'prepared');
    printShort(report, io);
  } else {
    if (options.files) for (const line of [...fileLines(report), '']) io.stdout(line, 'prepared');
    for (const line of auditText(report, io.columns)) io.stdout(line, 'prepared');
  }
}

async function makeReport(
  { where, paths, places, settings, remarks, keys, unseen, notLookedAt }: AuditPlaces,
  options: AuditOptions,
  { files: { data: disk }, clock, release }: Surroundings,
  io: CliIo,
): Promise<AuditReport> {
  const startMs = clock.monotonicMs();
  const { checksums = false } = options;
  const redraw = options.quiet ? undefined : io.redraw;
  const progress = redraw === undefined ? undefined : progressLine(redraw, clock);
  const interrupted = new AbortController();
  const { signal } = interrupted;
  const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted')));
  const audit = await auditData(places, {
    disk,
    clock,
    signal,
    checksums,
    ...(progress && { progress }),
    ...(THREADS > 0 && { threads: threadUse(checksums) }),
  }).finally(() => {
    forget();
    redraw?.('');
  });
  const { files } = audit;
  const needs = withUnneeded(needsOf(files), keys?.stored);
  const conflicts = conflictsOf(files, settings);
  return {
    where,
    paths,
    files,
    unseen: [...unseen, ...audit.unseen],
    notLookedAt,
    needs,
    keyDirectory: keys?.directory,
    conflicts,
    remarks: [...remarks, ...remarksOf(files, conflicts, needs, keys?.directory)],
    requirements: requirementsOf(audit, needs, options),
    release,
    endMs: clock.wallMs(),
    durationMs: clock.monotonicMs() - startMs,
  };
}

function threadUse(checksums: boolean): ThreadUse {
  return {
    afterBytes: checksums ? WORTH_BYTES_WITH_CHECKSUMS : WORTH_BYTES,
    largeBytes: LARGE_BYTES,
    start: () => startFileThreads(THREADS),
  };
}

function requirementsOf(audit: Audit, needs: AuditReport['needs'], options: AuditOptions): readonly Requirement[] {
  return [
    ...(options.requireEncrypted ? [encryptedRequirement(audit)] : []),
    ...options.requireVersion.map((required) => versionRequirement(needs, required)),
    ...(options.checksums ? [checksumRequirement(audit)] : []),
  ];
}

function statusOf(report: AuditReport): number {
  if (report.requirements.some(({ isMet }) => !isMet)) return FAILED;
  return isComplete(report) ? 0 : INCOMPLETE;
}

function printShort({ requirements, unseen, files }: AuditReport, io: CliIo): void {
  for (const { requirement, isMet, files: short } of requirements)
    if (!isMet) io.stderr(`mariadb-aws-kms: ${requirement}: not met by ${firstOf(short)}`);
  for (const { path, reason } of unseen.slice(0, SHORT)) io.stderr(`mariadb-aws-kms: not read: ${path}: ${reason}`);
  if (unseen.length > SHORT) io.stderr(`mariadb-aws-kms: not read: ${unseen.length - SHORT} more: --json has all`);
  if (files.length === 0 && unseen.length === 0) io.stderr('mariadb-aws-kms: nothing was found that a server encrypts');
}

function firstOf(files: readonly string[]): string {
  const first = files.slice(0, SHORT).join(', ');
  return files.length <= SHORT ? first : `${first} and ${counted(files.length - SHORT, 'more file')}: --json has all`;
}

function progressLine(redraw: (line: string) => void, clock: Clock): Progress {
  let shownMs = clock.monotonicMs();
  return (files, bytes) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - shownMs < REDRAW_MS) return;
    shownMs = nowMs;
    redraw(`audit: ${counted(files, 'file')}, ${size(bytes)} read`);
  };
}

function versionRequirements(text: string, before: readonly VersionRequirement[]): readonly VersionRequirement[] {
  const required = parseVersionRequirement(text);
  if (required === undefined)
    throw new KeyError('BAD_OPTION', '--require-version: expected a key version, or KEY-ID.VERSION');
  return [...before, required];
}
