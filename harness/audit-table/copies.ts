/** Copies of `decrypt tablespace` and `decrypt binlog`, read by MariaDB's tools and by a server without a key plugin. */
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import { runToEnd } from '../run-to-end.ts';
import { ScratchServer, serverTool } from '../scratch-server.ts';
import { type Build, layoutOf, tablesOf } from './formats.ts';
import { NOTES, notesIn } from './primary.ts';
import type { AuditedFile, AuditJson, Site } from './site.ts';
import { type Check, type Control, contentOfTable, errorOf } from './truth.ts';

const COPIED = 'decrypt tablespace, innochecksum';
const IMPORTED = 'decrypt tablespace, import without a plugin';
const LOGS = 'decrypt binlog';

/** A server without a key plugin, with a table for each that can be imported. */
export class ClearServer {
  readonly server: ScratchServer;
  readonly #build: Build;
  #hasImported = false;

  private constructor(directory: string, build: Build) {
    this.#build = build;
    this.server = new ScratchServer({ directory, options: layoutOf(build) });
  }

  /** @param template an initialised data directory of the build */
  static async start(directory: string, build: Build, template: string): Promise<ClearServer> {
    const clear = new ClearServer(directory, build);
    clear.server.copyDatabase(template);
    await clear.server.start();
    await clear.server.sql('CREATE DATABASE d');
    for (const { create, isImported } of tablesOf(build)) {
      const statement = isImported ? create(build, '') : undefined;
      if (statement !== undefined)
        await clear.server.sql(statement.replace(/ENCRYPTED=\w+|ENCRYPTION_KEY_ID=\d+|DATA DIRECTORY=''/g, ''));
    }
    return clear;
  }

  /** Imports the copies in a directory. Returns what is different from the content that the encrypted tables have. */
  async import(site: Site, copies: string, { contents, imports }: Control): Promise<readonly Check[]> {
    // InnoDB takes a spatial index of several levels for damaged when its table is imported twice by one process.
    if (this.#hasImported) await this.server.restart();
    this.#hasImported = true;
    const checks: Check[] = [];
    for (const table of tablesOf(this.#build).filter(({ name }) => imports.has(`d.${name}`))) {
      const name = `d.${table.name}`;
      const error = await errorOf(
        (async () => {
          await this.server.sql(`ALTER TABLE ${name} DISCARD TABLESPACE`);
          copyFileSync(join(copies, `${table.name}.ibd`), join(this.server.datadir, `d/${table.name}.ibd`));
          copyFileSync(site.cfgOf(table.name), join(this.server.datadir, `d/${table.name}.cfg`));
          await this.server.sql(`ALTER TABLE ${name} IMPORT TABLESPACE`);
        })(),
      );
      const content = error || (await contentOfTable(this.server, table));
      checks.push({
        what: IMPORTED,
        problem: content === contents.get(name) ? '' : `${name} reads ${content} in place of ${contents.get(name)}`,
      });
    }
    return checks;
  }
}

/**
 * Decrypts every file-per-table tablespace and every log of a server that is down.
 * @param to a new directory for the copies of the tablespaces
 */
export async function compareCopies(
  site: Site,
  state: string,
  audit: AuditJson,
  to: string,
): Promise<readonly Check[]> {
  const files = audit.files.filter(({ kind }) => kind === 'tablespace').map((file) => pathOf(site, file));
  mkdirSync(to);
  const { status, stderr } = await site.command('decrypt', 'tablespace', '--json', '--to', to, ...files);
  const checks: Check[] = [{ what: COPIED, problem: status === 0 ? '' : `status ${status}: ${stderr}` }];
  for (const file of files) {
    const copy = join(to, basename(file));
    const problem = existsSync(copy) ? await runToEnd('innochecksum', copy) : { status: 'no copy', stderr: '' };
    checks.push({ what: COPIED, problem: problem.status === 0 ? '' : `${file}: ${problem.status} ${problem.stderr}` });
  }
  return [...checks, ...(await compareLogs(site, state, audit, `${to}-logs`))];
}

/** Every log decrypts to one that mariadb-binlog reads, and the relay logs have all that was replicated. */
async function compareLogs(site: Site, state: string, audit: AuditJson, to: string): Promise<readonly Check[]> {
  const logs = audit.files.filter(({ kind }) => kind === 'relay log' || kind === 'binary log');
  // A backup has none.
  if (logs.length + site.replicated(state).length === 0) return [];
  mkdirSync(to);
  const paths = logs.map((file) => pathOf(site, file));
  const { status, stderr } = await site.command('decrypt', 'binlog', '--to', to, ...paths);
  const checks: Check[] = [{ what: LOGS, problem: status === 0 ? '' : `status ${status}: ${stderr}` }];
  const notes = new Set<number>();
  for (const { file, kind } of logs) {
    const log = join(to, basename(file));
    const read = await runToEnd(serverTool('mariadb-binlog'), '--no-defaults', log);
    checks.push({ what: LOGS, problem: read.status === 0 ? '' : `${file}: ${read.stderr}` });
    if (kind === 'relay log') for (const note of notesIn(read.stdout)) notes.add(note);
  }
  const lost = site.replicated(state).filter((note) => !notes.has(note));
  checks.push({ what: LOGS, problem: lost.length === 0 ? '' : `no ${NOTES} ${lost} in the relay logs` });
  rmSync(to, { recursive: true });
  return checks;
}

function pathOf({ server }: Site, { file }: AuditedFile): string {
  return isAbsolute(file) ? file : join(server.datadir, file);
}
