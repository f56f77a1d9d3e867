/**
 * A server whose data is in one place, for one table of formats and states. Copies of the data come back to the same
 * place, because a DATA DIRECTORY is known by its whole path.
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { type Ended, runToEnd } from '../run-to-end.ts';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  installDatabase,
  pluginOptions,
  type Row,
  ScratchServer,
  type ServerOptions,
} from '../scratch-server.ts';
import { type Build, buildOptions, createTables, layoutOf, tablesOf } from './formats.ts';
import { Primary } from './primary.ts';

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
  readonly pages?: {
    readonly clearInUse: number;
    readonly encryptedUnnamed: number;
    readonly strangePages: number;
  };
}

export interface AuditedVersion {
  readonly keyId: number;
  readonly version: number;
  readonly isNeededHere: boolean;
  readonly needs: Readonly<Record<string, { readonly files: readonly string[] }>>;
}

export interface Surroundings {
  readonly kms: DevKms;
  /** A free TCP port of loopback. */
  readonly port: number;
}

const PARTS = ['data', 'elsewhere', 'keys'];

export class Site {
  readonly build: Build;
  readonly server: ScratchServer;
  readonly keys: string;
  readonly elsewhere: string;
  /** An initialised data directory of the build, of a server without a key plugin. */
  readonly template: string;
  /** A directory for files of the comparison. */
  readonly scratch: string;
  readonly #primary: Primary;
  readonly #home: string;
  readonly #states: string;
  /** Notes in the relay logs of each state. */
  readonly #replicated = new Map<string, readonly number[]>();

  private constructor(directory: string, build: Build, kms: DevKms, primary: Primary) {
    this.build = build;
    this.#primary = primary;
    this.template = templateIn(directory);
    this.scratch = directory;
    this.#home = join(directory, 'home');
    this.#states = join(directory, 'states');
    this.keys = join(this.#home, 'keys');
    this.elsewhere = join(this.#home, 'elsewhere');
    const options = pluginOptions(kms.url, {
      ...EVERYTHING_ENCRYPTED,
      ...buildOptions(build),
      aws_key_management_keyfile_dir: this.keys,
      // Otherwise the plugin refuses to start, before the server can show how it does without the key.
      aws_key_management_allow_missing_keys: 'ON',
    });
    this.server = new ScratchServer({ directory: this.#home, options });
  }

  /** A running server with a table in every format, all of it encrypted that can be. */
  static async make(directory: string, build: Build, { kms, port }: Surroundings): Promise<Site> {
    const template = templateIn(directory);
    mkdirSync(dirname(template));
    await installDatabase(template, layoutOf(build));
    const primary = await Primary.start(join(directory, 'primary'), build, template, port);
    const site = new Site(directory, build, kms, primary);
    for (const path of [site.keys, site.elsewhere]) mkdirSync(path, { recursive: true });
    site.server.copyDatabase(template);
    await site.server.start();
    await createTables(site.server, build, site.elsewhere);
    await site.#exportTables();
    await primary.adopt(site.server);
    await site.settle(1);
    return site;
  }

  /** Puts one more event into a relay log that is made anew. */
  async replicate(): Promise<void> {
    await this.#primary.send(this.server);
  }

  /** Notes that the relay logs of a captured state have. */
  replicated(state: string): readonly number[] {
    return this.#replicated.get(state) ?? [];
  }

  async endPrimary(): Promise<void> {
    await this.#primary.server.kill();
  }

  async kill(): Promise<void> {
    await this.endPrimary();
    await this.server.kill();
  }

  /** Keeps the .cfg files, which IMPORT TABLESPACE needs for secondary indexes and which no state changes. */
  async #exportTables(): Promise<void> {
    const connection = await this.server.connect();
    mkdirSync(join(this.#states, 'cfg'), { recursive: true });
    for (const { name } of tablesOf(this.build).filter(({ isImported }) => isImported)) {
      await connection.query(`FLUSH TABLES d.${name} FOR EXPORT`);
      copyFileSync(this.live(tablespaceOf(name, 'cfg')), this.cfgOf(name));
      await connection.query('UNLOCK TABLES');
    }
    await connection.end();
  }

  /** Puts the captured file of a table, and its .cfg file, in the place of its own. */
  putTablespace(state: string, table: string): void {
    copyFileSync(join(this.#states, state, tablespaceOf(table, 'ibd')), this.live(tablespaceOf(table, 'ibd')));
    copyFileSync(this.cfgOf(table), this.live(tablespaceOf(table, 'cfg')));
  }

  cfgOf(table: string): string {
    return join(this.#states, 'cfg', `${table}.cfg`);
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
    // A backup has no relay logs.
    const isReplica = existsSync(join(this.server.datadir, 'relay.index'));
    this.#replicated.set(state, isReplica ? [...this.#primary.written] : []);
    copyParts(this.#home, join(this.#states, state));
  }

  /** The error log begins anew: pages that InnoDB cannot decrypt are in it as hexadecimal dumps. */
  restore(state: string): void {
    rmSync(this.server.logFile, { force: true });
    for (const part of PARTS) rmSync(join(this.#home, part), { recursive: true, force: true });
    copyParts(join(this.#states, state), this.#home);
  }

  live(path: string): string {
    return join(this.#home, path);
  }

  /** Audits the server's data, with its options, or a copy in another directory. */
  async audit(copy?: string): Promise<AuditJson> {
    const what = copy === undefined ? this.#ofServer() : ['--no-defaults', copy];
    const { status, stdout, stderr } = await runToEnd(COMMAND, 'audit', '--json', ...what);
    if (status !== 0) throw new Error(`audit ended with ${status}: ${stderr}${stdout.slice(-2000)}`);
    const answer: AuditJson = JSON.parse(stdout);
    return answer;
  }

  /** Runs a command with the server's options: its data directory, its keys and its KMS. */
  async command(...words: readonly string[]): Promise<Ended> {
    return await runToEnd(COMMAND, ...words, ...this.#ofServer());
  }

  /** The option that names the server's options. */
  #ofServer(): readonly string[] {
    const optionFile = join(this.#home, 'audit.cnf');
    const options = Object.entries({ datadir: this.server.datadir, ...this.server.options });
    const lines = options.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}\n`]));
    writeFileSync(optionFile, `[mariadbd]\n${lines.join('')}`);
    return [`--defaults-file=${optionFile}`];
  }
}

function templateIn(directory: string): string {
  return join(directory, 'template/data');
}

function copyParts(from: string, to: string): void {
  for (const part of PARTS) cpSync(join(from, part), join(to, part), { recursive: true, preserveTimestamps: true });
}

function tablespaceOf(table: string, ending: 'ibd' | 'cfg'): string {
  return join(table === 'remote' ? 'elsewhere' : 'data', 'd', `${table}.${ending}`);
}
