/**
 * Has KMS, or what holds the key files, fail in every way at every moment, and writes what servers did and said into
 * docs/reliability.md. Exit status 1 when one of them broke a promise.
 *   npm run reliability:kms
 *   npm run reliability:files
 */
import { join } from 'node:path';
import { writeSection } from '../harness/document-section.ts';
import { withScratchDirectory } from '../harness/scratch-directory.ts';
import { installDatabase } from '../harness/scratch-server.ts';
import type { Cell, Moment } from '../harness/trial.ts';
import { FAILURE_TABLE } from '../src/kms/failures/classify.ts';
import { brokenByFault, FAULT_MOMENTS, runFaults } from './file-faults.ts';
import { brokenByKms, MOMENTS, runFailures } from './kms-failures.ts';

interface Section {
  readonly title: string;
  readonly did: readonly [well: string, failed: string];
  /** The heading of the cell's reason. */
  readonly said: string;
  readonly reason: (cell: Cell) => string;
}

/** The outcomes of one fault, by moment. */
interface Row {
  readonly what: string;
  readonly cells: readonly Cell[];
}

interface Subject {
  /** The heading of the first column. */
  readonly subject: string;
  readonly moments: readonly Moment[];
  readonly run: (directory: string, template: string) => Promise<{ rows: readonly Row[]; broken: readonly string[] }>;
}

/** The plugin's error in the log, or its warning when nothing failed. */
const inLog = ({ log, error }: Cell): string => {
  const severity = error === '' ? '[Warning] ' : '[ERROR] ';
  return log.find((line) => line.startsWith(severity))?.slice(severity.length) ?? '';
};
const inStatement = ({ error }: Cell): string => error;

const SECTIONS: Readonly<Record<Moment, Section>> = {
  start: {
    title: 'The server starts and has stored keys',
    did: ['starts', 'does not start'],
    said: 'error log',
    reason: inLog,
  },
  create: {
    title: '`CREATE TABLE` with a new key id',
    did: ['the statement succeeds', 'the statement fails'],
    said: 'error log',
    reason: inLog,
  },
  rotate: {
    title: '`SET GLOBAL aws_key_management_rotate_key=3`',
    did: ['the statement succeeds', 'the statement fails'],
    said: 'error of the statement',
    reason: inStatement,
  },
  rotateAll: {
    title: '`SET GLOBAL aws_key_management_rotate_key=-1`',
    did: ['the statement succeeds', 'the statement fails'],
    said: 'error of the statement; the error log has one line for each key',
    reason: inStatement,
  },
  rewrap: {
    title: '`mariadb-aws-kms rewrap` while the server runs',
    did: ['every version is moved', 'the command fails'],
    said: 'first line of standard error',
    reason: inStatement,
  },
};

const SUBJECTS: Readonly<Record<string, Subject>> = {
  kms: {
    subject: 'KMS …',
    moments: MOMENTS,
    run: async (directory, template) => {
      const reports = await runFailures(directory, template);
      const rows = reports.map(({ failure, cells }) => ({ what: failure.what, cells }));
      return { rows, broken: reports.flatMap(brokenByKms) };
    },
  },
  files: {
    subject: 'while …',
    moments: FAULT_MOMENTS,
    run: async (directory, template) => {
      const reports = await runFaults(directory, template);
      const rows = reports.map(({ fault, cells }) => ({ what: fault.what, cells }));
      return { rows, broken: reports.flatMap(brokenByFault) };
    },
  },
};

const HINTS = new Set(Object.values(FAILURE_TABLE).map(({ hint }) => `; ${hint}`));

/** Removes text that differs between two runs, and the hints, which docs/errors.md has. */
function plain(text: string): string {
  const [hint = ''] = [...HINTS].filter((each) => text.endsWith(each));
  const said = text.slice(0, text.length - hint.length).replace('AWS KMS plugin: ', '');
  return said
    .replace(/ \(request [0-9a-f-]{36}\)/g, '')
    .replace(/arn:aws:kms:[\w:-]+:key\/[0-9a-f-]{36}/g, 'ARN')
    .replace(/(127\.0\.0\.1):\d+/g, '$1:PORT')
    .replace(/\/\S*?\/disk\/keys\b/g, 'DIR')
    .replace(/'\/\S*\/agent'/g, "'AGENT'")
    .replace(/(\.aws-kms-tmp-)\w+/g, '$1…')
    .replace(/\b[0-9a-f]{64}\b/g, 'SUM')
    .replace(/\b\d{8}T\d{6}Z\b/g, 'TIME')
    .replaceAll('|', '\\|');
}

function rowOf({ what: met, cells }: Row, moment: Moment): string {
  const cell = cells.find((each) => each.moment === moment);
  if (cell === undefined) return '';
  const { did, reason } = SECTIONS[moment];
  const what = cell.error === '' ? did[0] : did[1];
  const text = plain(reason(cell));
  return `| ${met} | ${what}, ${cell.seconds.toFixed(1)} s | ${text === '' ? '–' : `\`${text}\``} |\n`;
}

function tables(rows: readonly Row[], { subject, moments }: Subject): string {
  return moments
    .map((moment) => {
      const { title, said } = SECTIONS[moment];
      const lines = rows.map((row) => rowOf(row, moment)).join('');
      return `### ${title}\n\n| ${subject} | the server | ${said} |\n|---|---|---|\n${lines}`;
    })
    .join('\n');
}

const [name = ''] = process.argv.slice(2);
const subject = SUBJECTS[name];
if (subject === undefined) throw new Error(`expected kms or files, got ${name}`);
const { rows, broken } = await withScratchDirectory('mak-failures-', async (directory) => {
  const template = join(directory, 'template');
  await installDatabase(template);
  return await subject.run(directory, template);
});
for (const line of broken) console.error(line);
if (broken.length > 0) process.exitCode = 1;
else
  writeSection(
    join(import.meta.dirname, '../docs/reliability.md'),
    `made by npm run reliability:${name}`,
    `\n${tables(rows, subject)}\n`,
  );
