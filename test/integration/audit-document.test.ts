/** docs/audit.md against the server that it describes: every transcript, and the JSON Schema. */
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  BUILD,
  COMMAND,
  PATH,
  pluginOptions,
  type ScratchServer,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { schemaErrors } from '../support/json-schema.ts';
import { newServer, run, startKms } from '../support/lab.ts';
import { until } from '../support/scratch.ts';

const DOCUMENTS = join(import.meta.dirname, '../../docs');
/** Debian's programs that are not installed here; scripts/setup.sh unpacks them. */
const UNPACKED = join(BUILD, 'mariadb-test/usr/bin');
const PAGE = readFileSync(join(DOCUMENTS, 'audit.md'), 'utf8');

/** The server of the page, stopped, and a backup of it. */
async function describedServer(): Promise<ScratchServer> {
  const kms = await startKms();
  const server = newServer(
    pluginOptions(kms.url, {
      server_id: 1,
      log_bin: 'binlog',
      innodb_encrypt_tables: 'ON',
      innodb_encrypt_log: 'ON',
      innodb_encryption_threads: 2,
      encrypt_binlog: 'ON',
    }),
    { optionFile: '' },
  );
  await server.start();
  await server.sql('CREATE DATABASE shop');
  const create = async (table: string, options: string): Promise<void> => {
    await server.sql(`CREATE TABLE shop.${table} (i INT PRIMARY KEY, note TEXT) ${options}`);
  };
  const fill = async (table: string, rows: number): Promise<void> => {
    await server.sql(`INSERT INTO shop.${table} SELECT seq, REPEAT('x', 500) FROM shop.seq_1_to_${rows}`);
  };
  await create('customers', 'ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  await server.sql('ALTER TABLE shop.customers FORCE');
  await create('orders', 'ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5 PARTITION BY HASH (i) PARTITIONS 2');
  await create('notes', 'ENGINE=InnoDB ENCRYPTED=NO');
  await create('visits', 'ENGINE=Aria');
  for (const [table, rows] of Object.entries({ customers: 2_000, orders: 4_000, notes: 500, visits: 300 }))
    await fill(table, rows);
  await until(
    'everything is encrypted',
    async () => {
      const late = await server.sql(
        "SELECT NAME FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME<>'shop/notes' AND (MIN_KEY_VERSION=0 OR ROTATING_OR_FLUSHING=1)",
      );
      return late.length === 0;
    },
    120,
  );
  await server.stop();
  cpSync(server.datadir, join(server.directory, 'backup/full'), { recursive: true });
  mkdirSync(join(server.directory, 'restore'));
  return server;
}

interface Transcript {
  readonly command: string;
  readonly output: string;
}

/** Commands at root's prompt, with what follows them in their block. */
function transcripts(): readonly Transcript[] {
  const blocks = [...PAGE.matchAll(/^```\n(# [\s\S]*?)^```$/gm)].map(([, block = '']) => block);
  return blocks
    .flatMap((block) => block.split(/^# (?=mariadb-aws-kms )/m).slice(1))
    .map((text) => ({ command: text.split('\n')[0] ?? '', output: text.replace(/^.*\n/, '') }));
}

/** Numbers of pages, events and bytes differ between servers; their units, names of files and key versions do not. */
function withoutAmounts(text: string): string {
  return text
    .replace(/[\d,.]+ (page|file|event|bytes|KB|MB|in)s?\b/g, 'N $1')
    .replace(/^.*(?:proved|decrypt).*$/gm, (line) => line.replace(/(?<!key |version |binlog\.)\b\d[\d.,]*\b/g, 'N'))
    .replace(/ {2,}/g, '  ')
    .trimEnd();
}

/** Runs a command as the page has it, on the server and the places of this test. */
async function shell(command: string, { datadir, directory }: ScratchServer): Promise<string> {
  const script = command
    .replace(/mariadb-aws-kms (audit|verify-data|decrypt \w+)/, `"$COMMAND" $1 --defaults-file="${directory}/my.cnf"`)
    .replaceAll('/var/lib/mysql/', `${datadir}/`)
    .replaceAll('/restore/', `${directory}/restore/`)
    .replaceAll('/backup/', `${directory}/backup/`)
    .replace(/ audit\.html/, ` ${directory}/audit.html`);
  const { stdout } = await run('sh', ['-c', `(${script}) 2>&1; true`], {
    cwd: datadir,
    env: { ...TEST_CREDENTIALS, PATH: `${PATH}:${UNPACKED}`, COMMAND },
  });
  return stdout.replaceAll(datadir, '/var/lib/mysql').replaceAll(`${directory}/`, '/');
}

it('every command of the page prints what the page says, and its JSON is that of the schema', {
  timeout: 180_000,
}, async () => {
  const server = await describedServer();
  const expected = transcripts();
  expect(expected.length).toBeGreaterThan(7);
  const printed = await Promise.all(
    expected.map(async ({ command }) => ({ command, output: await shell(command, server) })),
  );
  const amountless = (all: readonly Transcript[]): readonly Transcript[] =>
    all.map(({ command, output }) => ({ command, output: withoutAmounts(output) }));
  expect(amountless(printed)).toEqual(amountless(expected));
  const schema: unknown = JSON.parse(readFileSync(join(DOCUMENTS, 'audit.schema.json'), 'utf8'));
  const audit: unknown = JSON.parse(
    await shell('mariadb-aws-kms audit --json --require-encrypted --checksums', server),
  );
  expect(schemaErrors(Object(schema), audit)).toEqual([]);
});
