/**
 * A server whose data is in one place, for one table of formats and states. Copies of the data come back to the same
 * place, because a DATA DIRECTORY is known by its whole path.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { DevKms } from '../../src/dev-kms/index.ts';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  installDatabase,
  PATH,
  pluginOptions,
  type Row,
  ScratchServer,
  type ServerOptions,
} from '../scratch-server.ts';
import { type Build, buildOptions, createTables, tablesOf } from './formats.ts';

/** The audit's answer with --json, as far as it is used here. */
export interface AuditJson {
  readonly files: readonly AuditedFile[];
  readonly keyVersions: readonly AuditedVersion[];
  readonly complete: boolean;
  readonly conflicts: readonly { readonly file: string; readonly asked: string }[];
}

export interface AuditedFile {
  readonly file: string;
  readonly kind: string;
  readonly state: 'encrypted' | 'partly' | 'clear' | 'empty';
  readonly keyId?: number;
  readonly needsRecovery?: boolean;
  readonly keyVersions: readonly {
    readonly version: number;
    readonly pagesInUse?: number;
    readonly freePages?: number;
  }[];
  readonly pages?: { readonly clearInUse: number; readonly strangePages: number };
}

export interface AuditedVersion {
  readonly keyId: number;
  readonly version: number;
  readonly isNeededHere: boolean;
  readonly needs: Readonly<Record<string, { readonly files: readonly string[] }>>;
}

const PARTS = ['data', 'elsewhere', 'keys'];
/** The doublewrite area of pages of 64 KiB needs 12 MiB. */
const DATA_FILES = 'ibdata1:12M;ibdata2:8M:autoextend';
/** The settings that a data directory depends on: of the server that makes it, and of mariadb-install-db. */
const LAID_OUT = [
  'innodb_page_size',
  'innodb_checksum_algorithm',
  'innodb_undo_tablespaces',
  'innodb_buffer_pool_size',
];

export class Site {
  readonly build: Build;
  readonly server: ScratchServer;
  readonly keys: string;
  readonly elsewhere: string;
  readonly #home: string;
  readonly #states: string;

  private constructor(directory: string, build: Build, kms: DevKms) {
    this.build = build;
    this.#home = join(directory, 'home');
    this.#states = join(directory, 'states');
    this.keys = join(this.#home, 'keys');
    this.elsewhere = join(this.#home, 'elsewhere');
    const options = pluginOptions(kms.url, {
      ...EVERYTHING_ENCRYPTED,
      ...buildOptions(build),
      innodb_data_file_path: DATA_FILES,
      aws_key_management_keyfile_dir: this.keys,
      // Otherwise the plugin refuses to start, before the server can show how it does without the key.
      aws_key_management_allow_missing_keys: 'ON',
    });
    this.server = new ScratchServer({ directory: this.#home, options });
  }

  /** A running server with a table in every format, all of it encrypted that can be. */
  static async make(directory: string, build: Build, kms: DevKms): Promise<Site> {
    const site = new Site(directory, build, kms);
    for (const path of [site.keys, site.elsewhere, join(directory, 'template')]) mkdirSync(path, { recursive: true });
    const template = join(directory, 'template/data');
    const layout = Object.entries(site.server.options).filter(([name]) => LAID_OUT.includes(name));
    await installDatabase(template, { ...Object.fromEntries(layout), innodb_data_file_path: DATA_FILES });
    site.server.copyDatabase(template);
    await site.server.start();
    await createTables(site.server, build, site.elsewhere);
    await site.#exportTables();
    await site.server.sql("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='nobody'");
    await site.server.sql('START SLAVE');
    await site.server.sql('STOP SLAVE');
    await site.settle(1);
    return site;
  }

  /** Keeps the .cfg files, which IMPORT TABLESPACE needs for secondary indexes and which no state changes. */
  async #exportTables(): Promise<void> {
    const connection = await this.server.connect();
    mkdirSync(join(this.#states, 'cfg'), { recursive: true });
    for (const { name } of tablesOf(this.build).filter(({ isImported }) => isImported)) {
      await connection.query(`FLUSH TABLES d.${name} FOR EXPORT`);
      copyFileSync(this.live(tablespaceOf(name, 'cfg')), join(this.#states, 'cfg', `${name}.cfg`));
      await connection.query('UNLOCK TABLES');
    }
    await connection.end();
  }

  /** Puts the captured file of a table, and its .cfg file, in the place of its own. */
  putTablespace(state: string, table: string): void {
    copyFileSync(join(this.#states, state, tablespaceOf(table, 'ibd')), this.live(tablespaceOf(table, 'ibd')));
    copyFileSync(join(this.#states, 'cfg', `${table}.cfg`), this.live(tablespaceOf(table, 'cfg')));
  }

  set(options: ServerOptions): void {
    this.server.options = { ...this.server.options, ...options };
  }

  async rotate(): Promise<void> {
    await this.server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  }

  async view(): Promise<readonly Row[]> {
    return await this.server.sql('SELECT * FROM information_schema.INNODB_TABLESPACES_ENCRYPTION');
  }

  /** Waits until no InnoDB page in use is older than the version. */
  async settle(version: number): Promise<void> {
    await this.until(`everything is under version ${version}`, async () =>
      (await this.view()).every(
        (row) =>
          row['ENCRYPTION_SCHEME'] === 0 ||
          (Number(row['MIN_KEY_VERSION']) >= version && row['ROTATING_OR_FLUSHING'] === 0),
      ),
    );
  }

  async until(what: string, check: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + 90_000;
    while (!(await check())) {
      if (performance.now() > endMs) throw new Error(`waited in vain until ${what}`);
      await pause(100);
    }
  }

  /** Key versions that are stored, as ID.VERSION. */
  versions(): readonly string[] {
    return readdirSync(this.keys).flatMap((file) => /^aws-kms-key\.(\d+\.\d+)$/.exec(file)?.[1] ?? []);
  }

  /** The latest version of key 1, and of every other key as well. */
  latest(): number {
    return Math.max(...this.versions().map((name) => Number(name.split('.')[1])));
  }

  takeAway(versions: readonly string[]): void {
    for (const version of versions)
      for (const ending of ['', '.json']) rmSync(join(this.keys, `aws-kms-key.${version}${ending}`));
  }

  capture(state: string): void {
    copyParts(this.#home, join(this.#states, state));
  }

  restore(state: string): void {
    for (const part of PARTS) rmSync(join(this.#home, part), { recursive: true, force: true });
    copyParts(join(this.#states, state), this.#home);
  }

  live(path: string): string {
    return join(this.#home, path);
  }

  /** Audits the server's data, with its options, or a copy in another directory. */
  async audit(copy?: string): Promise<AuditJson> {
    const optionFile = join(this.#home, 'audit.cnf');
    const options = Object.entries({ datadir: this.server.datadir, ...this.server.options });
    writeFileSync(optionFile, `[mariadbd]\n${options.map(([name, value]) => `${name}=${value}\n`).join('')}`);
    const what = copy === undefined ? [`--defaults-file=${optionFile}`] : ['--no-defaults', copy];
    const { stdout } = await promisify(execFile)(COMMAND, ['audit', '--json', ...what], {
      env: { PATH },
      maxBuffer: 64 * 1024 * 1024,
    });
    const answer: AuditJson = JSON.parse(stdout);
    return answer;
  }
}

function copyParts(from: string, to: string): void {
  for (const part of PARTS) cpSync(join(from, part), join(to, part), { recursive: true, preserveTimestamps: true });
}

function tablespaceOf(table: string, ending: 'ibd' | 'cfg'): string {
  return join(table === 'remote' ? 'elsewhere' : 'data', 'd', `${table}.${ending}`);
}
