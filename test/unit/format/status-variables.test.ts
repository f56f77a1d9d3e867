import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  KEY_STATUS_VARIABLES,
  STATUS_VARIABLES,
  type StatusText,
  type StatusVariable,
} from '../../../src/format/status-variables.ts';

function file(path: string): string {
  return readFileSync(join(import.meta.dirname, '../../..', path), 'utf8');
}

const PLUGIN = file('plugin/server/status.c');

/** The elements of an array of texts in the plugin, without the empty one. */
function textsOf(array: string): readonly string[] {
  const [, elements = ''] = new RegExp(`\\b${array}\\[\\w*\\]= \\{([^}]*)\\}`).exec(PLUGIN) ?? [];
  return [...elements.matchAll(/\]= "([^"]+)"/g)].map(([, text = '']) => text);
}

function textVariable(row: StatusVariable): StatusText {
  if (row.type !== 'text') throw new Error('expected a text');
  return row;
}

it('the plugin has the status variables of the table, in its order and with its types', () => {
  const added = [...PLUGIN.matchAll(/\badd(_number)?\(snapshot, "(\w+)"/g)];
  expect(added.map(([, number, name = '']) => [name, number === undefined ? 'text' : 'number'])).toEqual(
    Object.entries(STATUS_VARIABLES).map(([name, { type }]) => [name, type]),
  );
  expect(PLUGIN).toContain(`#define FIXED ${added.length}u `);
});

it('the plugin has the status variables of the table for each key', () => {
  const added = [...PLUGIN.matchAll(/"key_%u_(\w+)"/g)].map(([, name]) => name);
  expect(added).toEqual(Object.keys(KEY_STATUS_VARIABLES));
  expect(PLUGIN).toContain(`#define PER_KEY ${added.length}u\n`);
});

it.each([
  ['states', STATUS_VARIABLES.agent_state],
  ['master_keys', STATUS_VARIABLES.master_key_state],
  ['algorithms', KEY_STATUS_VARIABLES.encryption_algorithm],
])("the plugin's %s are the values of the table", (array, row) => {
  expect(textsOf(array)).toEqual(textVariable(row).values);
});

it('README.md counts the status variables', () => {
  const counts = /\| status variables \| none \| \[(\d+), and (\w+) per key\]\(/.exec(file('README.md'));
  expect(counts?.slice(1)).toEqual([String(Object.keys(STATUS_VARIABLES).length), 'two']);
  expect(Object.keys(KEY_STATUS_VARIABLES)).toHaveLength(2);
});
