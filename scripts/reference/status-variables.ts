/** The status variables of docs/reference.md: the tables of `src/format/status-variables.ts`. */
import { KEY_STATUS_VARIABLES, STATUS_VARIABLES, type StatusVariable } from '../../src/format/status-variables.ts';
import { choices, section } from './layout.ts';

const PREFIX = 'Aws_key_management_';

/** Returns an index, a section for each variable of the server, and one for each of a key id. */
export function statusVariables(): string {
  const rows: readonly (readonly [string, StatusVariable])[] = [
    ...Object.entries(STATUS_VARIABLES),
    ...Object.entries(KEY_STATUS_VARIABLES).map(([name, row]) => [`key_ID_${name}`, row] as const),
  ];
  return [
    [
      '| `Aws_key_management_`… | data type | unit or values |',
      '|---|---|---|',
      ...rows.map(
        ([name, row]) =>
          `| [\`${name}\`](#${(PREFIX + name).toLowerCase()}) | ${dataType(row)} | ${unitOrValues(row)} |`,
      ),
    ].join('\n'),
    ...rows.map(([name, row]) =>
      section(PREFIX + name, row.sentence, row.explanation ?? [], [
        ['Data type', dataType(row)],
        [row.type === 'number' ? 'Unit' : 'Values', unitOrValues(row)],
        ['Since', row.since],
      ]),
    ),
  ].join('\n\n');
}

function dataType({ type }: StatusVariable): string {
  return type === 'number' ? 'numeric' : 'string';
}

function unitOrValues(row: StatusVariable): string {
  if (row.type === 'number') return `${row.unit}${row.isCounter ? ', counter' : ''}`;
  return typeof row.values === 'string' ? row.values : choices(row.values);
}
