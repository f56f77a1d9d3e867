/** The audit for people: a summary that fits a screen of 24 lines, however many files and key versions there are. */
import { printable } from '../printable.ts';
import { counted, size } from './amounts.ts';
import type { Audit } from './audit.ts';
import type { FileAudit, FileState } from './file-audit.ts';
import { isNeeded, type KeyVersionNeeds, NEED_CLASSES, type Need, type NeedClass } from './needs.ts';
import { type AuditReport, isComplete } from './report.ts';

const STATES: readonly (readonly [FileState, string])[] = [
  ['encrypted', 'encrypted'],
  ['partly', 'partly encrypted'],
  ['clear', 'in clear'],
  ['empty', 'without data'],
];
const HEADINGS: Readonly<Record<NeedClass, string>> = {
  start: 'PAGES TO START',
  read: 'PAGES TO READ',
  import: 'PAGES TO IMPORT',
  logs: 'LOGS',
};
/** The lines of a terminal, without the one of its prompt. */
const LINES = 23;
const LEAST_COLUMNS = 80;
const LEAST_KEY_ROWS = 3;
const [MOST_REMARKS, MOST_REQUIREMENTS] = [4, 2];
const MARK = '…';
const [THOUSAND, MILLION, BILLION] = [1_000, 1_000_000, 1_000_000_000];
/** Numbers from here on are printed with a unit. */
const LARGE = 100_000;

/**
 * The summary fits a terminal. Elsewhere remarks and requirements are whole, because mails and logs scroll.
 * @param columns of the terminal; undefined when output goes elsewhere
 */
export function auditText(report: AuditReport, columns?: number): readonly string[] {
  const width = Math.max(LEAST_COLUMNS, columns ?? LEAST_COLUMNS);
  const { where, files, needs } = report;
  const head = [
    `${printable(where)}: ${counted(files.length, 'file')}, ${size(bytesOf(files))}`,
    ...table([...states(files), ...unread(report)]),
  ];
  const tail = [
    ...section(atMost(report.remarks, columns === undefined ? Infinity : MOST_REMARKS, 'remark')),
    ...requirements(report, columns === undefined ? Infinity : MOST_REQUIREMENTS),
    '',
    ...notLookedAt(report),
  ];
  const rows = keyRows(needs, Math.max(LEAST_KEY_ROWS, LINES - head.length - tail.length - 2));
  const keys =
    rows.length === 0
      ? ['', `  ${isComplete(report) ? 'nothing' : 'nothing that was read'} needs a key version`]
      : ['', ...table([HEADER, ...rows])];
  const fitting = [...head, ...keys].map((line) => cut(line, width));
  return [...fitting, ...(columns === undefined ? tail : tail.map((line) => cut(line, width)))];
}

/** Returns a line for each file, and for each path that was not read. */
export function fileLines({ files, unseen }: Audit): readonly string[] {
  return [
    ...files.map((file) => `${printable(file.file)}: ${file.kind}, ${nameOf(file.state)}${detailsOf(file)}`),
    ...unseen.map(({ path, reason }) => `${printable(path)}: NOT READ: ${reason}`),
  ];
}

const HEADER = ['KEY', ...NEED_CLASSES.map((need) => HEADINGS[need])];

function states(files: readonly FileAudit[]): readonly (readonly string[])[] {
  return STATES.flatMap(([state, name]) => {
    const those = files.filter((file) => file.state === state);
    if (those.length === 0) return [];
    const named = state === 'partly' || state === 'clear' ? those.slice(0, 3).map(({ file }) => file) : [];
    return [[name, counted(those.length, 'file'), size(bytesOf(those)), listed(named, those.length)]];
  });
}

function unread({ unseen, files }: AuditReport): readonly (readonly string[])[] {
  const [first] = unseen;
  if (first !== undefined)
    return [['NOT READ', counted(unseen.length, 'place'), '', `${printable(first.path)}: ${first.reason}`]];
  return files.length === 0 ? [['NOT READ', '', '', 'nothing that a server encrypts is there: is it mounted?']] : [];
}

function listed(names: readonly string[], all: number): string {
  const text = names.map(printable).join(', ');
  return all > names.length && names.length > 0 ? `${text}, ${MARK}` : text;
}

/** Key versions, joined in ranges until they fit. */
function keyRows(needs: readonly KeyVersionNeeds[], most: number): readonly (readonly string[])[] {
  const unneededJoined = ranges(needs, (key) => !isNeeded(key));
  const joined = unneededJoined.length <= most ? unneededJoined : ranges(needs, () => true);
  const shown = joined.length <= most ? joined : joined.slice(0, most - 1);
  const rest = joined.slice(shown.length).reduce((sum, range) => sum + range.length, 0);
  return [...shown.map(keyRow), ...(rest > 0 ? [[MARK, `${counted(rest, 'more key version')}: --json has all`]] : [])];
}

/** Joins neighbours that are needed for the same. */
function ranges(
  needs: readonly KeyVersionNeeds[],
  mayJoin: (key: KeyVersionNeeds) => boolean,
): readonly (readonly KeyVersionNeeds[])[] {
  const found: KeyVersionNeeds[][] = [];
  for (const key of needs) {
    const range = found.at(-1);
    const before = range?.at(-1);
    const isNext = before?.id === key.id && before.version + 1 === key.version;
    if (isNext && mayJoin(key) && mayJoin(before) && patternOf(before) === patternOf(key)) range?.push(key);
    else found.push([key]);
  }
  return found;
}

function patternOf({ needs, isStored }: KeyVersionNeeds): string {
  return `${isStored} ${NEED_CLASSES.filter((need) => needs[need] !== undefined)}`;
}

function keyRow(range: readonly KeyVersionNeeds[]): readonly string[] {
  const [first, last] = [range[0], range.at(-1)];
  if (first === undefined || last === undefined) return [];
  const name = `${first.id}.${first.version}${range.length === 1 ? '' : `-${last.id}.${last.version}`}`;
  if (!isNeeded(first)) return [name, 'nothing found here'];
  return [name, ...NEED_CLASSES.map((need) => amount(range.flatMap(({ needs }) => needs[need] ?? [])))];
}

function amount(needs: readonly Need[]): string {
  if (needs.length === 0) return '-';
  const pages = needs.reduce((sum, need) => sum + need.pages, 0);
  const files = new Set(needs.flatMap((need) => need.files)).size;
  return pages === 0 ? short(files, 'file') : `${short(pages)} in ${short(files, 'file')}`;
}

function short(count: number, one?: string): string {
  if (count < LARGE) return one === undefined ? count.toLocaleString('en') : counted(count, one);
  const [unit, letter] = count >= BILLION ? [BILLION, 'G'] : count >= MILLION ? [MILLION, 'M'] : [THOUSAND, 'k'];
  return `${(count / unit).toFixed(1)}${letter}${one === undefined ? '' : ` ${one}s`}`;
}

function requirements({ requirements: all }: AuditReport, most: number): readonly string[] {
  const lines = all.map(({ requirement, isMet, files }) =>
    isMet
      ? `${requirement}: met`
      : `${requirement}: NOT MET by ${counted(files.length, 'file')}, such as ${printable(files[0] ?? '')}`,
  );
  return section(atMost(lines, most, 'requirement'));
}

function notLookedAt(report: AuditReport): readonly string[] {
  return [
    ...(isComplete(report) ? [] : ['INCOMPLETE: what was not read may need any key version, and may be in clear.']),
    `Not looked at: ${report.notLookedAt.join(', ')}.`,
    'They may need more key versions. A line for each file: --files; all: --json.',
  ];
}

function section(lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', ...lines.map((line) => `  ${line}`)];
}

function atMost(lines: readonly string[], most: number, one: string): readonly string[] {
  if (lines.length <= most) return lines;
  return [...lines.slice(0, most - 1), `and ${counted(lines.length - most + 1, `more ${one}`)}: --json has all`];
}

function detailsOf({ keyId, versions, pages, asked }: FileAudit): string {
  const keys = versions.map(({ version, used, free }) => {
    const freePages = free === 0 ? '' : ` and ${free} free`;
    return ` ${keyId ?? '?'}.${version}${pages === undefined ? '' : ` (${counted(used, 'page')}${freePages})`}`;
  });
  const unnamed =
    pages !== undefined && pages.unnamed > 0 ? [` ${counted(pages.unnamed, 'page')} of key ${keyId}`] : [];
  const clear = pages !== undefined && pages.clear.used > 0 ? [` ${counted(pages.clear.used, 'page')} in clear`] : [];
  const definition = asked === 'yes' || asked === 'no' ? [` ENCRYPTED=${asked.toUpperCase()}`] : [];
  const bad = pages !== undefined && pages.strangePages > 0 ? [` ${counted(pages.strangePages, 'page')} NOT READ`] : [];
  return [...keys, ...unnamed, ...clear, ...definition, ...bad].map((part) => `,${part}`).join('');
}

function nameOf(state: FileState): string {
  return STATES.find(([each]) => each === state)?.[1] ?? state;
}

function bytesOf(files: readonly FileAudit[]): number {
  return files.reduce((sum, file) => sum + file.bytes, 0);
}

function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, width - 1)}${MARK}`;
}

/** The last text of a row may be as long as it likes. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, text] of row.slice(0, -1).entries())
      widths[column] = Math.max(widths[column] ?? 0, text.length);
  return rows.map((row) =>
    `  ${row.map((text, column) => (column === row.length - 1 ? text : text.padEnd((widths[column] ?? 0) + 2))).join('')}`.trimEnd(),
  );
}
