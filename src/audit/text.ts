/** The audit for people: a summary that fits a screen, then what is in clear. */
import { printable } from '../printable.ts';
import type { Audit } from './audit.ts';
import type { FileAudit, FileState } from './file-audit.ts';
import { type KeyVersionNeeds, NEED_CLASSES, type Need, type NeedClass } from './needs.ts';

const STATES: readonly (readonly [FileState, string])[] = [
  ['encrypted', 'encrypted'],
  ['partly', 'partly encrypted'],
  ['clear', 'in clear'],
  ['empty', 'without data'],
];
const HEADINGS: Readonly<Record<NeedClass, string>> = {
  start: 'TO START',
  read: 'TO READ',
  import: 'TO IMPORT A FILE',
  logs: 'FOR LOGS',
};
/** Names of one kind to print. */
const MOST_NAMES = 20;
const NOT_LOOKED_AT =
  'Not looked at: backups, archived logs, replicas and other copies. They may need key versions that nothing here needs.';

/** @param needs of all key versions that are stored or used, in their order */
export function auditText(
  where: string,
  { files, unseen }: Audit,
  needs: readonly KeyVersionNeeds[],
): readonly string[] {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return [
    `${where}: ${counted(files.length, 'file')}, ${size(bytes)}`,
    '',
    ...columns(
      STATES.map(([state, name]) => {
        const those = files.filter((file) => file.state === state);
        return [name, counted(those.length, 'file'), size(those.reduce((sum, file) => sum + file.bytes, 0))];
      }),
    ),
    '',
    ...columns([
      ['KEY VERSION', ...NEED_CLASSES.map((need) => HEADINGS[need])],
      ...needs.map(({ id, version, needs: of }) => [
        `${id}.${version}`,
        ...(NEED_CLASSES.every((need) => of[need] === undefined)
          ? ['nothing found here']
          : NEED_CLASSES.map((need) => amount(of[need]))),
      ]),
    ]),
    ...names(
      'In clear',
      files.filter(({ state }) => state === 'clear'),
    ),
    ...names(
      'Partly encrypted',
      files.filter(({ state }) => state === 'partly'),
    ),
    ...(unseen.length === 0 ? [] : ['', 'Not read, so that any key may be needed:']),
    ...unseen.map(({ path, reason }) => `  ${printable(path)}: ${reason}`),
    '',
    NOT_LOOKED_AT,
  ];
}

function amount(need: Need | undefined): string {
  if (need === undefined) return '-';
  const files = counted(need.files.length, 'file');
  return need.pages === 0 ? files : `${counted(need.pages, 'page')}, ${files}`;
}

function names(heading: string, files: readonly FileAudit[]): readonly string[] {
  if (files.length === 0) return [];
  const more = files.length - MOST_NAMES;
  return [
    '',
    `${heading}:`,
    ...files.slice(0, MOST_NAMES).map((file) => `  ${printable(file.file)}${reason(file)}`),
    ...(more > 0 ? [`  and ${more} more: --json has all`] : []),
  ];
}

function reason({ asked, kind, pages }: FileAudit): string {
  if (asked === 'no') return ', with ENCRYPTED=NO';
  if (asked === 'yes') return ', with ENCRYPTED=YES';
  return kind === 'Aria table' && pages?.neverEncrypted === 0 ? ', whose ROW_FORMAT Aria never encrypts' : '';
}

function counted(count: number, one: string): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : `${one}s`}`;
}

function size(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, text] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, row.length > 1 || column > 0 ? text.length : 0);
  return rows.map((row) => `  ${row.map((text, column) => text.padEnd((widths[column] ?? 0) + 2)).join('')}`.trimEnd());
}
