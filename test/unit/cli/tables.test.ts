import stringWidth from 'string-width';
import { expect, it } from 'vitest';
import { type TableColumn, tableLines } from '../../../src/cli/tables.ts';

const COLUMNS: readonly TableColumn[] = [
  { heading: 'KEY' },
  { heading: 'BITS', isNumber: true },
  { heading: 'MASTER KEY', shorten: 'middle' },
  { heading: 'CONTEXT', shorten: 'end' },
];
const ARN = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';

it('columns are as wide as their widest text, numbers stand at the right, no line ends in spaces', async () => {
  const lines = await tableLines(COLUMNS, [
    ['1.1', '256', 'alias/a', 'app=shop'],
    ['100.2', '128', 'alias/longer', ''],
  ]);
  expect(lines).toEqual([
    'KEY    BITS  MASTER KEY    CONTEXT',
    '1.1     256  alias/a       app=shop',
    '100.2   128  alias/longer',
  ]);
});

it('without rows no line is printed', async () => {
  expect(await tableLines(COLUMNS, [])).toEqual([]);
});

it('a terminal gets shortened columns that fit, a pipe the whole texts', async () => {
  const rows = [['1.1', '256', ARN, 'application=shop,environment=production']];
  const narrow = await tableLines(COLUMNS, rows, { width: 80, indent: 2 });
  expect(narrow).toEqual([
    '  KEY  BITS  MASTER KEY                        CONTEXT',
    '  1.1   256  arn:aws:kms:eu-c…ef-1234567890ab  application=shop,environment=pro…',
  ]);
  expect(narrow.map((line) => line.length)).toEqual([54, 80]);
  const [, whole] = await tableLines(COLUMNS, rows);
  expect(whole).toBe(`1.1   256  ${ARN}  application=shop,environment=production`);
  expect(await tableLines(COLUMNS, rows, { width: 20, indent: 2 })).toEqual(narrow);
});

it('texts in wide scripts stand in their columns, and are cut between characters', async () => {
  const rows = [
    ['1.1', '256', '東京の鍵'.repeat(20), 'x'],
    ['1.2', '256', 'alias/a', 'y'],
  ];
  const lines = await tableLines(COLUMNS, rows, { width: 80 });
  const columnOf = (line: string, mark: string): number => stringWidth(line.slice(0, line.lastIndexOf(mark)));
  const [, first = '', second = ''] = lines;
  expect(columnOf(first, 'x')).toBe(columnOf(second, 'y'));
  expect(Math.max(...lines.map((line) => stringWidth(line)))).toBeLessThanOrEqual(80);
  expect(first).toContain('…');
});

it('control characters of a text become a space', async () => {
  expect(await tableLines([{ heading: 'A' }], [['x\u001b[2J\ny']])).toEqual(['A', 'x [2J y']);
});
