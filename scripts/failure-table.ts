/**
 * Has KMS fail in every way at every moment, and writes what servers did and said into docs/reliability.md. Exit status 1
 * when one of them broke a promise.
 *   npm run reliability:kms
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FAILURE_TABLE } from '../src/kms/classify.ts';
import { writeSection } from './lib/document-section.ts';
import { brokenPromises, type Cell, type FailureReport, type Moment, runFailures } from './lib/kms-failures.ts';
import { installDatabase } from './lib/scratch-server.ts';

interface Section {
  readonly title: string;
  readonly did: readonly [well: string, failed: string];
  /** Where the reason is. */
  readonly said: string;
  readonly reason: (cell: Cell) => string;
}

const inLog = ({ log }: Cell): string => log.find((line) => line.startsWith('[ERROR] '))?.slice(8) ?? '';
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
};

const HINTS = new Set(Object.values(FAILURE_TABLE).map(({ hint }) => `; ${hint}`));

/** Without what differs between two runs, and without the hints, which docs/errors.md has. */
function plain(text: string): string {
  const [hint = ''] = [...HINTS].filter((each) => text.endsWith(each));
  const said = text.slice(0, text.length - hint.length).replace('AWS KMS plugin: ', '');
  return said
    .replace(/ \(request [0-9a-f-]{36}\)/g, '')
    .replace(/arn:aws:kms:[\w:-]+:key\/[0-9a-f-]{36}/g, 'ARN')
    .replace(/(127\.0\.0\.1):\d+/g, '$1:PORT')
    .replaceAll('|', '\\|');
}

function rowOf({ failure, cells }: FailureReport, moment: Moment): string {
  const cell = cells.find((each) => each.moment === moment);
  if (cell === undefined) throw new Error(`no result of ${moment} when KMS ${failure.what}`);
  const { did, reason } = SECTIONS[moment];
  const what = cell.error === '' ? did[0] : did[1];
  const text = plain(reason(cell));
  return `| ${failure.what} | ${what}, ${cell.seconds.toFixed(1)} s | ${text === '' ? '–' : `\`${text}\``} |`;
}

function tables(reports: readonly FailureReport[]): string {
  const moments: readonly Moment[] = ['start', 'create', 'rotate', 'rotateAll'];
  return moments
    .map((moment) => {
      const { title, said } = SECTIONS[moment];
      const rows = reports.map((report) => rowOf(report, moment)).join('\n');
      return `### ${title}\n\n| KMS … | the server | ${said} |\n|---|---|---|\n${rows}\n`;
    })
    .join('\n');
}

const directory = mkdtempSync(join(tmpdir(), 'mak-failures-'));
try {
  const template = join(directory, 'template');
  await installDatabase(template);
  const reports = await runFailures(directory, template);
  const broken = reports.flatMap(brokenPromises);
  for (const line of broken) console.error(line);
  if (broken.length > 0) process.exitCode = 1;
  else
    writeSection(
      join(import.meta.dirname, '../docs/reliability.md'),
      'made by npm run reliability:kms',
      `\n${tables(reports)}\n`,
    );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
