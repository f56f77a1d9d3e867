/** docs/reference.md against a running server: every variable, and every example. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { PATH, pluginOptions, type Row, type ScratchServer } from '../../harness/scratch-server.ts';
import { newServer, startKms, startServer } from '../support/lab.ts';
import { transcripts, variableSections } from '../support/reference-page.ts';
import { until } from '../support/scratch.ts';

const TYPES: ReadonlyMap<unknown, string> = new Map([
  ['VARCHAR', 'string'],
  ['ENUM', 'enumeration'],
  ['BOOLEAN', 'boolean'],
  ['INT UNSIGNED', 'numeric'],
  ['BIGINT', 'numeric'],
]);
/** Facts that the server does not tell; unit tests compare those with the plugin. */
const NOT_TOLD = ['Length', 'Example', 'An agent that listens', 'Since', 'C++ plugin'];
/** A server with the defaults of the plugin. */
const DEFAULTS = {
  aws_key_management: undefined,
  aws_key_management_master_key_id: undefined,
  aws_key_management_endpoint_url: undefined,
};

function code(text: unknown): string {
  return `\`${String(text)}\``;
}

/** The section that the page needs for a row of information_schema.SYSTEM_VARIABLES. */
function sectionFor(row: Row): unknown {
  const name = String(row['VARIABLE_NAME']).toLowerCase();
  const type = TYPES.get(row['VARIABLE_TYPE']);
  const value = row['COMMAND_LINE_ARGUMENT'] === 'OPTIONAL' ? '[={OFF|ON}]' : type === 'numeric' ? '=#' : '=value';
  const isCommand = name === 'aws_key_management_rotate_key';
  const choices = row['ENUM_VALUE_LIST'];
  return {
    name,
    sentence: `${row['VARIABLE_COMMENT']}.`,
    facts: {
      'Command line': `${code(`--${name.replaceAll('_', '-')}${value}`)}${isCommand ? ', ignored with a warning' : ''}`,
      Scope: row['VARIABLE_SCOPE'] === 'GLOBAL' ? 'Global' : row['VARIABLE_SCOPE'],
      Dynamic: row['READ_ONLY'] === 'NO' ? 'Yes' : 'No',
      'Data type': type,
      Default: row['DEFAULT_VALUE'] === '' ? 'empty' : code(row['DEFAULT_VALUE']),
      ...(choices === null ? {} : { Values: String(choices).split(',').map(code).join(', ') }),
      ...(type === 'numeric'
        ? { Range: `${code(row['NUMERIC_MIN_VALUE'])} to ${code(row['NUMERIC_MAX_VALUE'])}` }
        : {}),
    },
  };
}

it('the page has every system variable of the server and no other, with what the server tells of it', async () => {
  const server = await startServer(await startKms(), DEFAULTS);
  const rows = await server.sql(
    "SELECT * FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME LIKE 'aws\\_key\\_management\\_%' ORDER BY BINARY LOWER(VARIABLE_NAME)",
  );
  const page = [...variableSections('aws_key_management_')].map(([name, { sentence, facts }]) => ({
    name,
    sentence,
    facts: Object.fromEntries(
      Object.entries(facts)
        .filter(([label]) => !NOT_TOLD.includes(label))
        .map(([label, text]) => [label, label === 'Range' ? text.replace(/ \([^)]*\)$/, '') : text]),
    ),
  }));
  expect(page).toEqual(rows.map(sectionFor));
  expect(page.length).toBeGreaterThan(10);
  expect(
    await server.sql(
      "SELECT LOAD_OPTION AS activation FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'aws_key_management'",
    ),
  ).toEqual([{ activation: 'ON' }]);
  for (const row of rows) {
    expect(row['GLOBAL_VALUE'], String(row['VARIABLE_NAME'])).toBe(row['DEFAULT_VALUE']);
    expect([null, '1']).toContain(row['NUMERIC_BLOCK_SIZE']);
  }
});

it('bad values of options do what the page says', async () => {
  const kms = await startKms();
  const server = await startServer(kms, {
    aws_key_management_start_timeout: 99_999,
    aws_key_management_sealed_key_cache: 'perhaps',
  });
  expect(await server.variable('VARIABLES', 'aws_key_management_start_timeout')).toBe('3600');
  expect(await server.variable('VARIABLES', 'aws_key_management_sealed_key_cache')).toBe('OFF');
  expect(server.log).toMatch(/\[Warning\] .*aws-key-management-start-timeout.*99999 adjusted to 3600/);
  expect(server.log).toMatch(/\[Warning\] .*aws-key-management-sealed-key-cache.*'perhaps' .*Set to OFF/);
  const misspelt = newServer(pluginOptions(kms.url, { aws_key_management_log_level: 'Loud' }));
  await expect(misspelt.start()).rejects.toThrow(/Error while setting value 'Loud' to 'aws-key-management-log-level'/);
  const unloaded = newServer({ aws_key_management_region: 'eu-central-1' });
  await expect(unloaded.start()).rejects.toThrow(/unknown variable 'aws-key-management-region=eu-central-1'/);
  unloaded.options = { loose_aws_key_management_region: 'eu-central-1' };
  await unloaded.start();
});

/** Names and values in the order of SHOW STATUS. */
async function statusOf(server: ScratchServer, scope: 'GLOBAL' | 'SESSION'): Promise<readonly [string, string][]> {
  const rows = await server.sql(`SHOW ${scope} STATUS LIKE 'Aws\\_key\\_management%'`);
  return rows.map(({ Variable_name, Value }) => [String(Variable_name), String(Value)]);
}

it('the page has every status variable of the server and no other, with its type, and none is reset by FLUSH', async () => {
  const server = await startServer(await startKms(), {
    aws_key_management_watch_interval: 1,
    performance_schema: 'ON',
  });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  const page = [...variableSections('Aws_key_management_')];
  const named = (id: number): string[] =>
    page.filter(([name]) => name.includes('_key_ID_')).map(([name]) => name.replace('_ID_', `_${id}_`));
  const ofServer = page.map(([name]) => name).filter((name) => !name.includes('_key_ID_'));
  const shown = await statusOf(server, 'GLOBAL');
  expect(shown.map(([name]) => name)).toEqual([...ofServer, ...named(1), ...named(3)]);
  for (const [name, value] of shown) {
    const facts = new Map(page).get(name.replace(/_key_\d+_/, '_key_ID_'))?.facts;
    if (facts?.['Data type'] === 'numeric') expect(value, name).toMatch(/^\d+$/);
    else if (facts?.['Values']?.startsWith('`')) expect(facts['Values'].split(', '), name).toContain(code(value));
    else expect(facts?.['Data type'], name).toBe('string');
  }
  for (const table of [
    'information_schema.GLOBAL_STATUS',
    'information_schema.SESSION_STATUS',
    'performance_schema.global_status',
  ]) {
    const rows = await server.sql(
      `SELECT VARIABLE_NAME AS name FROM ${table} WHERE VARIABLE_NAME LIKE 'aws\\_key\\_management%'`,
    );
    expect(
      rows.map(({ name }) => name),
      table,
    ).toEqual(shown.map(([name]) => (table.startsWith('information') ? name.toUpperCase() : name)));
  }
  // The looks of the watch are Decrypt requests.
  const counted = async (): Promise<number> =>
    Number(await server.variable('STATUS', 'Aws_key_management_kms_calls_decrypt'));
  await until('the watch has looked', async () => (await counted()) > 2);
  await server.sql('FLUSH STATUS');
  // MariaDB 10.11 does not know this statement.
  await server.sql('FLUSH GLOBAL STATUS').catch(() => undefined);
  expect(await counted()).toBeGreaterThan(2);
  const [ofSession, global] = [await statusOf(server, 'SESSION'), await statusOf(server, 'GLOBAL')];
  expect(ofSession.map(([name]) => name)).toEqual(global.map(([name]) => name));
  expect(new Map(ofSession).get('Aws_key_management_keys_created')).toBe('2');
});

/** Runs statements in the command-line client, as a person does; returns what it prints. */
async function typed(server: ScratchServer, user: string, statements: string): Promise<string> {
  const client = spawn(
    'sh',
    [
      '-c',
      'exec mariadb --no-defaults --table --force --unbuffered --socket="$0" --user="$1" 2>&1',
      server.socket,
      user,
    ],
    { env: { PATH } },
  );
  const [output] = await Promise.all([buffer(client.stdout), once(client, 'close'), client.stdin.end(statements)]);
  // Before an error a client that reads a file repeats the statement, and names its line.
  return output
    .toString()
    .replaceAll(/^-{14}\n[\s\S]*?\n-{14}\n\n/gm, '')
    .replaceAll(/^(ERROR \d+ \(\w+\)) at line \d+:/gm, '$1:');
}

it('every example of the page prints what the page says', async () => {
  const server = await startServer(await startKms(), { aws_key_management_key_ids: '1-9' });
  await server.sql("CREATE USER guest@localhost IDENTIFIED BY ''");
  await server.sql('GRANT ALL ON shop.* TO guest@localhost');
  const blocks = transcripts();
  expect(blocks.length).toBeGreaterThan(10);
  for (const { user, statements, output } of blocks)
    expect(await typed(server, user, statements), statements).toBe(output);
});
