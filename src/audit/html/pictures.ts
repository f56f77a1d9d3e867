/** The pictures of the report. A table beside each has its numbers. */
import { counted, size } from '../amounts.ts';
import type { FileAudit, FileState } from '../file-audit.ts';
import { isNeeded, type KeyVersionNeeds, NEED_CLASSES, type NeedClass } from '../needs.ts';
import { addShares, neededBytes, type Shares, sharesOf, sharesSum } from '../shares.ts';
import { type Table, tablesOf } from '../tables.ts';
import { type Bar, barChart, type Fill, legend } from './bars.ts';
import { type Markup, markup } from './markup.ts';
import { type Column, dataTable } from './table.ts';

/** Bars of one chart; what is left is one more. */
const [MOST_TABLES, MOST_VERSIONS] = [15, 20];

const SHARES: readonly (readonly [keyof Shares & Fill, string])[] = [
  ['encrypted', 'encrypted'],
  ['clear', 'in clear'],
  ['free', 'free pages, which may hold old data'],
  ['other', 'never encrypted, empty, or copies'],
];
const STATES: readonly (readonly [FileState, string])[] = [
  ['encrypted', 'encrypted'],
  ['partly', 'partly encrypted'],
  ['clear', 'in clear'],
  ['empty', 'without data'],
];
const NEEDS: Readonly<Record<NeedClass, { readonly fill: Fill; readonly head: string; readonly text: string }>> = {
  start: { fill: 'start', head: 'To start', text: 'to start: redo log, system, undo' },
  read: { fill: 'encrypted', head: 'To read', text: 'to read: other pages in use' },
  import: { fill: 'free', head: 'To import', text: 'to import a file: its free pages' },
  logs: { fill: 'logs', head: 'For logs', text: 'for binary and relay logs' },
};

interface OfKind {
  readonly kind: string;
  readonly states: string;
  readonly shares: Shares;
}

export function byKind(files: readonly FileAudit[]): Markup {
  const kinds = [...Map.groupBy(files, ({ kind }) => kind)]
    .map(
      ([kind, those]): OfKind => ({ kind, states: statesText(those), shares: those.map(sharesOf).reduce(addShares) }),
    )
    .sort((a, b) => sharesSum(b.shares) - sharesSum(a.shares));
  const columns: readonly Column<OfKind>[] = [
    { head: 'Kind', cell: ({ kind }) => kind },
    { head: 'Files', cell: ({ states }) => states },
    ...shareColumns<OfKind>(({ shares }) => shares),
  ];
  return markup`<h2>What is encrypted</h2>
${barChart(
  'kinds',
  'Data by kind of file',
  'One bar for each kind of file; the table below has the numbers.',
  kinds.map(({ kind, shares }) => shareBar(kind, shares)),
)}
${legend(SHARES)}
${dataTable('Data by kind of file', columns, kinds)}`;
}

export function byTable(files: readonly FileAudit[]): Markup {
  const tables = tablesOf(files);
  const rest = tables.slice(MOST_TABLES);
  const shown = [...tables.slice(0, MOST_TABLES), ...(rest.length > 0 ? [summed(rest)] : [])];
  const columns: readonly Column<Table>[] = [
    { head: 'Table or kind', cell: ({ name }) => name },
    { head: 'Files', cell: (table) => table.files.toLocaleString('en'), isNumber: true },
    ...shareColumns<Table>(({ shares }) => shares),
  ];
  return markup`<h2>The largest tables</h2>
<p class="soft">A table with all its partitions and indexes counts as one. Names are those of the files; files of no table are together by their kind.</p>
${barChart(
  'tables',
  'Data by table',
  'One bar for each table, the largest first; the table below has the numbers.',
  shown.map(({ name, shares }) => shareBar(name, shares)),
)}
${legend(SHARES)}
${dataTable('Data by table, the largest first', columns, shown)}`;
}

export function byKeyVersion(files: readonly FileAudit[], needs: readonly KeyVersionNeeds[]): Markup {
  const byName = new Map(files.map((file) => [file.file, file]));
  const needed = needs.filter(isNeeded);
  const bars = needed.slice(0, MOST_VERSIONS).map((of): Bar => {
    const parts = NEED_CLASSES.map((need) => [NEEDS[need].fill, neededBytes(byName, of, need)] as const);
    return { label: rangeName([of]), value: size(parts.reduce((sum, [, bytes]) => sum + bytes, 0)), parts };
  });
  const columns: readonly Column<readonly KeyVersionNeeds[]>[] = [
    { head: 'Key version', cell: rangeName },
    ...NEED_CLASSES.map((need) => ({
      head: NEEDS[need].head,
      cell: ([of]: readonly KeyVersionNeeds[]) =>
        of === undefined ? '' : neededText(of, need, neededBytes(byName, of, need)),
    })),
    { head: 'Found here', cell: ([of]) => (of === undefined ? '' : foundText(of)) },
  ];
  const more = needed.length - bars.length;
  return markup`<h2>Data by key version</h2>
<p class="soft">Key ids are those that the files name. Nothing here needs a version with "nothing found here"; what was not looked at may.</p>
${barChart('versions', 'Data by key version', 'One bar for each key version that something needs; the table below has the numbers.', bars)}
${more > 0 ? markup`<p class="soft">${counted(more, 'more key version')} in the table.</p>` : ''}
${legend(NEED_CLASSES.map((need) => [NEEDS[need].fill, NEEDS[need].text]))}
${dataTable('What each key version is needed for', columns, joined(needs))}`;
}

/** Joins neighbours that nothing needs. */
function joined(needs: readonly KeyVersionNeeds[]): readonly (readonly KeyVersionNeeds[])[] {
  const ranges: KeyVersionNeeds[][] = [];
  for (const of of needs) {
    const range = ranges.at(-1);
    const before = range?.at(-1);
    const isNext = before?.id === of.id && before.version + 1 === of.version;
    if (isNext && !isNeeded(before) && !isNeeded(of) && before.isStored === of.isStored) range?.push(of);
    else ranges.push([of]);
  }
  return ranges;
}

function rangeName(range: readonly KeyVersionNeeds[]): string {
  const [first, last] = [range[0], range.at(-1)];
  if (first === undefined || last === undefined) return '';
  return first === last
    ? `key ${first.id} version ${first.version}`
    : `key ${first.id} versions ${first.version} to ${last.version}`;
}

function foundText(of: KeyVersionNeeds): string {
  if (!isNeeded(of)) return 'nothing found here';
  return of.isStored === false ? 'needed, without a key file' : 'needed';
}

function neededText({ needs }: KeyVersionNeeds, need: NeedClass, bytes: number): string {
  const found = needs[need];
  if (found === undefined) return '–';
  const files = `${counted(found.files.length, 'file')}, ${size(bytes)}`;
  return found.pages === 0 ? files : `${counted(found.pages, 'page')}, ${files}`;
}

function shareBar(label: string, shares: Shares): Bar {
  return { label, value: size(sharesSum(shares)), parts: SHARES.map(([share]) => [share, shares[share]]) };
}

function shareColumns<T>(sharesOfRow: (row: T) => Shares): readonly Column<T>[] {
  return [
    { head: 'Encrypted', cell: (row) => sizeOrNone(sharesOfRow(row).encrypted), isNumber: true },
    { head: 'In clear', cell: (row) => sizeOrNone(sharesOfRow(row).clear), isNumber: true },
    { head: 'Free', cell: (row) => sizeOrNone(sharesOfRow(row).free), isNumber: true },
    { head: 'Other', cell: (row) => sizeOrNone(sharesOfRow(row).other), isNumber: true },
    { head: 'All', cell: (row) => sizeOrNone(sharesSum(sharesOfRow(row))), isNumber: true },
  ];
}

function statesText(files: readonly FileAudit[]): string {
  const counts = Map.groupBy(files, ({ state }) => state);
  return STATES.flatMap(([state, text]) => {
    const those = counts.get(state) ?? [];
    return those.length === 0 ? [] : [`${those.length.toLocaleString('en')} ${text}`];
  }).join(', ');
}

function sizeOrNone(bytes: number): string {
  return bytes === 0 ? '–' : size(bytes);
}

function summed(tables: readonly Table[]): Table {
  return {
    name: counted(tables.length, 'smaller table'),
    files: tables.reduce((all, { files }) => all + files, 0),
    shares: tables.map(({ shares }) => shares).reduce(addShares),
  };
}
