/** The reports of `audit` besides its text: an HTML file, and metrics for Prometheus. */
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { auditHtml } from '../audit/html/document.ts';
import { auditMetrics } from '../audit/prometheus.ts';
import type { AuditReport } from '../audit/report.ts';
import type { Disk } from '../disk/file-system.ts';
import { putInPlace, syncDirectory, temporaryPath, writeNew } from '../disk/files.ts';
import { KeyError, systemErrorCode } from '../errors.ts';

export interface ReportOptions {
  readonly html?: string;
  /** True: to standard output. */
  readonly prometheus?: string | true;
  readonly json?: boolean;
}

/** Node_exporter reads files of this name only, and runs as another user. */
const [METRICS, METRICS_MODE] = ['.prom', 0o644];

export function withReports(command: Command): Command {
  return command
    .option('--html <file>', 'also write a report with pictures into this new file')
    .option(
      '--prometheus [file]',
      "print metrics for Prometheus; or write them into this file, which ends in .prom, for node_exporter's textfile collector",
    );
}

/**
 * Refuses before the audit what would be refused after it.
 * @throws KeyError BAD_OPTION
 */
export async function checkReports({ html, prometheus, json }: ReportOptions, disk: Disk): Promise<void> {
  const { fileSystem } = disk;
  if (prometheus === true && json)
    throw new KeyError('BAD_OPTION', '--json and --prometheus both print to standard output', {
      hint: 'give --prometheus a file',
    });
  if (typeof prometheus === 'string' && !prometheus.endsWith(METRICS))
    throw new KeyError('BAD_OPTION', `--prometheus: ${prometheus} does not end in ${METRICS}`, {
      hint: 'the textfile collector reads no other file; to print the metrics, put --prometheus last',
    });
  if (html !== undefined) {
    const found = await fileSystem.stat(resolve(html)).then(
      () => 'EEXIST',
      (error: unknown) => systemErrorCode(error),
    );
    if (found === 'EEXIST') throw exists(html);
    await tryDirectory('--html', html, disk);
  }
  if (typeof prometheus === 'string') await tryDirectory('--prometheus', prometheus, disk);
}

/** Makes a file in the directory of a report and removes it: an audit may take long, and its report must have a place. */
async function tryDirectory(option: string, path: string, { fileSystem, random }: Disk): Promise<void> {
  const temporary = temporaryPath(dirname(resolve(path)), random);
  try {
    await writeNew(fileSystem, temporary, Buffer.alloc(0));
  } catch (error) {
    const { message, hint } = notWritten(path, error, 'cannot be written');
    throw new KeyError('BAD_OPTION', `${option}: ${message}`, { hint, cause: error });
  } finally {
    await fileSystem.unlink(temporary).catch(() => undefined);
  }
}

/**
 * Writes the reports that go into files, each even if another could not be written.
 * @returns the reasons why reports were not written
 */
export async function writeReports(
  { html, prometheus }: ReportOptions,
  report: AuditReport,
  disk: Disk,
): Promise<readonly KeyError[]> {
  const outcomes = await Promise.allSettled([
    html === undefined ? undefined : createFile(resolve(html), auditHtml(report), disk),
    typeof prometheus === 'string' ? replaceFile(resolve(prometheus), auditMetrics(report), disk) : undefined,
  ]);
  return outcomes.flatMap((outcome) => {
    if (outcome.status === 'fulfilled') return [];
    if (outcome.reason instanceof KeyError) return [outcome.reason];
    throw outcome.reason;
  });
}

/** The report tells where data is in clear, so that only its owner reads it. */
async function createFile(path: string, text: string, { fileSystem, random }: Disk): Promise<void> {
  const temporary = temporaryPath(dirname(path), random);
  try {
    await writeNew(fileSystem, temporary, Buffer.from(text));
    // Unlike a rename, this fails where a file of that name exists.
    await fileSystem.link(temporary, path);
    await syncDirectory(fileSystem, dirname(path));
  } catch (error) {
    throw systemErrorCode(error) === 'EEXIST' ? exists(path) : notWritten(path, error);
  } finally {
    await fileSystem.unlink(temporary).catch(() => undefined);
  }
}

/** A reader of the file never sees a part of it. */
async function replaceFile(path: string, text: string, { fileSystem, random }: Disk): Promise<void> {
  try {
    const temporary = temporaryPath(dirname(path), random);
    await putInPlace(fileSystem, path, temporary, Buffer.from(text), { mode: METRICS_MODE });
    await syncDirectory(fileSystem, dirname(path));
  } catch (error) {
    throw notWritten(path, error);
  }
}

function exists(path: string): KeyError {
  return new KeyError('BAD_OPTION', `--html: ${path} exists`, { hint: 'name a new file: none is replaced' });
}

function notWritten(path: string, cause: unknown, what = 'was not written'): KeyError {
  const code = systemErrorCode(cause);
  const reason = code ?? (cause instanceof Error ? cause.message : String(cause));
  return new KeyError('STORE_UNAVAILABLE', `${path} ${what}: ${reason}`, { hint: hintFor(code, dirname(path)), cause });
}

function hintFor(code: string | undefined, directory: string): string | undefined {
  switch (code) {
    case undefined:
    case 'EACCES':
    case 'EPERM':
      return `root writes with the rights of whoever owns a directory on the way: namei -l ${directory}`;
    case 'ENOENT':
      return `create the directory ${directory} first`;
    default:
      return undefined;
  }
}
