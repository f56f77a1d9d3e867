/** The quick start's minute, with its commands read from the document. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectThat, type Machine } from './machine.ts';
import { expectEncrypted, expectInClear } from './proof.ts';

const DOCUMENT = 'docs/quick-start.md';
const HEADING = '## A minute with the embedded KMS';
const LIMIT_SECONDS = 60;

export interface Minute {
  /** The commands, a line each, in their order. */
  readonly shell: string;
  readonly sql: string;
  /** The table that it makes, with its database. */
  readonly table: string;
  /** A text that it stores. */
  readonly secret: string;
}

/** @throws Error when the section has not what the minute needs */
export function readMinute(): Minute {
  const text = readFileSync(join(import.meta.dirname, '../..', DOCUMENT), 'utf8');
  const section = text.split(`${HEADING}\n`)[1]?.split('\n## ')[0];
  if (section === undefined) throw new Error(`${DOCUMENT}: no section "${HEADING}"`);
  const block = (kind: string): string => {
    const found = [...section.matchAll(new RegExp(`^\`\`\`${kind}\n([^]*?)^\`\`\`$`, 'gm'))].map(([, lines]) => lines);
    const [only] = found;
    if (only === undefined || found.length !== 1)
      throw new Error(`${DOCUMENT}: "${HEADING}" has ${found.length} blocks of ${kind}, expected 1`);
    return only;
  };
  const [shell, sql] = [block('sh'), block('sql')];
  const table = /CREATE TABLE (?:IF NOT EXISTS )?(\w+\.\w+)/i.exec(sql)?.[1];
  const secret = /INSERT INTO [^;]*'([^']{5,})'/i.exec(sql)?.[1];
  if (table === undefined || secret === undefined)
    throw new Error(`${DOCUMENT}: the SQL of "${HEADING}" creates no database.table, or stores no text in it`);
  return { shell, sql, table, secret };
}

/** Prefixes that a user types and root need not. */
function asRoot(shell: string): string {
  return shell.replace(/^sudo /gm, '');
}

/** @returns the seconds that it took */
export async function minute(machine: Machine, deb: string): Promise<string> {
  const { shell, sql, table, secret } = readMinute();
  await machine.sql(`CREATE DATABASE clear; CREATE TABLE clear.t (s TEXT); INSERT INTO clear.t VALUES ('${secret}')`);
  const before = await machine.server();
  machine.bring(deb);
  const started = performance.now();
  // The user's answer to apt's question.
  await machine.run(`set -e\n${asRoot(shell)}`, 'y\n');
  const configured = performance.now();
  const answer = await machine.sql(sql);
  const ended = performance.now();
  const seconds = (ended - started) / 1000;
  expectThat(answer.includes(secret), 'the table reads back what was stored', answer);
  expectThat((await machine.server()) !== before, 'the server was restarted within the minute');
  await machine.service('stop');
  expectInClear(machine, 'clear.t', secret);
  const versions = expectEncrypted(machine, table, secret);
  await machine.service('start');
  expectThat((await machine.sql(`SELECT * FROM ${table}`)).includes(secret), `${table} reads after a restart`);
  expectThat(seconds < LIMIT_SECONDS, `it takes less than ${LIMIT_SECONDS} s`, `${seconds.toFixed(1)} s`);
  const parts = `install and init ${((configured - started) / 1000).toFixed(1)}, SQL ${((ended - configured) / 1000).toFixed(1)}`;
  return `${seconds.toFixed(1)} s to an encrypted table (${parts}); key version in its pages: ${versions.join(', ')}`;
}
