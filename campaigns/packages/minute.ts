/** The quick start's minute, with its commands read from the document. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectThat, type Machine } from './machine.ts';
import { expectEncrypted, expectInClear } from './proof.ts';

const DOCUMENT = 'docs/quick-start.md';
const HEADING = '## A minute with the embedded KMS';
const LIMIT_SECONDS = 60;

export interface Minute {
  readonly commands: readonly [install: string, init: string];
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
  const [installation, initialisation, ...more] = shell.trimEnd().split('\n');
  if (installation === undefined || initialisation === undefined || more.length > 0)
    throw new Error(`${DOCUMENT}: "${HEADING}" promises two commands, and has:\n${shell}`);
  const table = /CREATE TABLE (?:IF NOT EXISTS )?(\w+\.\w+)/i.exec(sql)?.[1];
  const secret = /INSERT INTO [^;]*'([^']{5,})'/i.exec(sql)?.[1];
  if (table === undefined || secret === undefined)
    throw new Error(`${DOCUMENT}: the SQL of "${HEADING}" creates no database.table, or stores no text in it`);
  return { commands: [installation, initialisation], sql, table, secret };
}

/** @returns the seconds that it took */
export async function minute(machine: Machine, deb: string): Promise<string> {
  const { commands, sql, table, secret } = readMinute();
  const [installation, initialisation] = commands;
  await machine.sql(`CREATE DATABASE clear; CREATE TABLE clear.t (s TEXT); INSERT INTO clear.t VALUES ('${secret}')`);
  const before = await machine.server();
  machine.bring(deb);
  const started = performance.now();
  // The user's answer to apt's question.
  await machine.run(installation, 'y\n');
  const installed = performance.now();
  await machine.run(initialisation);
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
  const parts = shares([installed - started, configured - installed, ended - configured]);
  expectThat(seconds < LIMIT_SECONDS, `it takes less than ${LIMIT_SECONDS} s`, `${seconds.toFixed(1)} s: ${parts}`);
  return `${seconds.toFixed(1)} s to an encrypted table (${parts}); key version in its pages: ${versions.join(', ')}`;
}

function shares(parts: readonly [install: number, init: number, sql: number]): string {
  const [install, init, sql] = parts.map((ms) => (ms / 1000).toFixed(1));
  return `install ${install}, init and restart ${init}, SQL ${sql}`;
}
