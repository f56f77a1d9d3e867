/** A real mariadbd in a directory of its own, away from any installed server: for the demo and the tests. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type Connection, createConnection } from 'mariadb';
import { TEST_ACCESS_KEY } from '../src/dev-kms/index.ts';
import { stopThreads } from './children.ts';

const run = promisify(execFile);

export const BUILD = join(import.meta.dirname, '../build');
export const PLUGIN_DIRECTORY = join(BUILD, 'plugin');
export const AGENT = join(PLUGIN_DIRECTORY, 'aws_key_management_agent');
export const COMMAND = join(BUILD, 'mariadb-aws-kms');

/** Server options as in an option file, without dashes; `true` is an option without a value, undefined leaves one out. */
export type ServerOptions = Readonly<Record<string, string | number | true | undefined>>;
export type KillMoment = 'between writes' | 'at once';
export type Row = Readonly<Record<string, unknown>>;

export const TEST_CREDENTIALS: NodeJS.ProcessEnv = {
  AWS_ACCESS_KEY_ID: TEST_ACCESS_KEY.accessKeyId,
  AWS_SECRET_ACCESS_KEY: TEST_ACCESS_KEY.secretAccessKey,
};

/** The same as a shared credentials file. */
export const TEST_ACCESS_KEYS_FILE = `[default]
aws_access_key_id = ${TEST_ACCESS_KEY.accessKeyId}
aws_secret_access_key = ${TEST_ACCESS_KEY.secretAccessKey}
`;

/** Small and quick to start; everything else as MariaDB ships it. */
export const SMALL: ServerOptions = {
  innodb_buffer_pool_size: '16M',
  innodb_log_file_size: '4M',
  innodb_use_native_aio: 0,
  aria_pagecache_buffer_size: '8M',
  key_buffer_size: '1M',
  performance_schema: 'OFF',
};

/**
 * Options for servers under valgrind, which cannot reserve the 8 TiB of address space that the server reserves by
 * default.
 */
const WATCHED: ServerOptions = { loose_innodb_buffer_pool_size_max: '256M' };

export interface ScratchServerParts {
  /** Holds the data directory, the socket and the error log; the caller removes it. */
  readonly directory: string;
  readonly options?: ServerOptions;
  /** The environment of the server, besides PATH. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Command and arguments that start the server, for tests that start it in a special way. */
  readonly launcher?: readonly string[];
  readonly mariadbd?: string;
  /** The user that the server runs as when root starts it. */
  readonly user?: string;
  /** True: the server outlives this process. */
  readonly detached?: boolean;
  /**
   * The beginning of an option file, to which the options are written instead of to the command line: for scripts that
   * read the file.
   */
  readonly optionFile?: string;
}

/** An ordinary user's PATH has no sbin, where Debian puts mariadbd. */
export const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** The version line of the installed server. */
export function installedServer(): string {
  return execFileSync('mariadbd', ['--no-defaults', '--version'], { env: { PATH }, encoding: 'utf8' }).trim();
}

/** Initialises a data directory. */
export async function installDatabase(
  datadir: string,
  options: ServerOptions = {},
  environment: NodeJS.ProcessEnv = {},
): Promise<string> {
  const tmpdir = mkdtempSync(join(dirname(datadir), 'install-'));
  const { stdout, stderr } = await run(
    'mariadb-install-db',
    [
      '--no-defaults',
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      `--datadir=${datadir}`,
      `--tmpdir=${tmpdir}`,
      ...asUser(),
      ...toArguments({ ...SMALL, ...options }),
    ],
    { env: { PATH, ...environment } },
  );
  rmSync(tmpdir, { recursive: true, force: true });
  return stdout + stderr;
}

export class ScratchServer {
  readonly directory: string;
  readonly datadir: string;
  readonly socket: string;
  readonly logFile: string;
  options: ServerOptions;
  environment: NodeJS.ProcessEnv;
  /** A separate directory: a starting server removes temporary tables of others from a shared one. */
  readonly #tmpdir: string;
  readonly #user: string;
  readonly #detached: boolean;
  readonly #launcher: readonly string[];
  readonly #mariadbd: string;
  readonly #optionFile: string | undefined;
  #process: ChildProcess | undefined;
  readonly #connections = new Set<Connection>();

  constructor(parts: ScratchServerParts) {
    this.directory = parts.directory;
    this.datadir = join(parts.directory, 'data');
    this.socket = join(parts.directory, 'sock');
    this.logFile = join(parts.directory, 'error.log');
    this.#tmpdir = join(parts.directory, 'tmp');
    this.options = parts.options ?? {};
    this.environment = parts.environment ?? TEST_CREDENTIALS;
    this.#user = parts.user ?? 'root';
    this.#detached = parts.detached ?? false;
    this.#launcher = parts.launcher ?? watched();
    this.#mariadbd = parts.mariadbd ?? 'mariadbd';
    this.#optionFile = parts.optionFile;
  }

  /** A copy of an initialised data directory, which is much quicker than initialising one. */
  copyDatabase(template: string): void {
    mkdirSync(this.directory, { recursive: true });
    cpSync(template, this.datadir, { recursive: true });
    mkdirSync(this.#tmpdir, { recursive: true });
    if (this.#user === 'root' || process.getuid?.() !== 0) return;
    execFileSync('chown', ['-R', this.#user, this.directory]);
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('the server does not run');
    return pid;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** The whole error log, of every start. */
  get log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  get commandLine(): string[] {
    return this.#optionFile === undefined
      ? ['--no-defaults', ...this.#arguments]
      : [`--defaults-file=${join(this.directory, 'my.cnf')}`];
  }

  get #arguments(): string[] {
    return [
      `--datadir=${this.datadir}`,
      `--socket=${this.socket}`,
      `--pid-file=${join(this.directory, 'pid')}`,
      `--log-error=${this.logFile}`,
      `--tmpdir=${this.#tmpdir}`,
      '--skip-networking',
      ...asUser(this.#user),
      ...toArguments({
        ...SMALL,
        ...(watched().length > 0 ? WATCHED : {}),
        plugin_dir: process.env['TEST_PLUGIN_DIRECTORY'] ?? PLUGIN_DIRECTORY,
        plugin_maturity: 'stable',
        ...this.options,
      }),
    ];
  }

  /**
   * Resolves when the server takes connections.
   * @throws Error with the end of the error log when it ends before that
   */
  async start(): Promise<void> {
    const [command = this.#mariadbd, ...rest] = [...this.#launcher, this.#mariadbd];
    mkdirSync(this.#tmpdir, { recursive: true });
    if (this.#optionFile !== undefined) {
      const lines = this.#arguments.map((argument) => argument.replace(/^--/, ''));
      writeFileSync(join(this.directory, 'my.cnf'), `${this.#optionFile}[mariadbd]\n${lines.join('\n')}\n`);
    }
    const logged = this.log.length;
    const child = spawn(command, [...rest, ...this.commandLine], {
      env: { PATH, ...this.environment },
      stdio: 'ignore',
      detached: this.#detached,
    });
    if (this.#detached) child.unref();
    else endWithProcess(child);
    this.#process = child;
    const failed = once(child, 'error').then(([error]) => {
      throw error;
    });
    failed.catch(() => undefined);
    const endMs = performance.now() + 120_000;
    while (!this.log.slice(logged).includes('ready for connections')) {
      if (!this.isRunning) throw new Error(`mariadbd did not start:\n${this.log.slice(logged)}`);
      if (performance.now() > endMs) throw new Error(`mariadbd did not get ready:\n${this.log.slice(logged)}`);
      await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
  }

  async connect(user = 'root'): Promise<Connection> {
    const connection = await createConnection({
      socketPath: this.socket,
      user,
      // The connector's default of one second is too short on a busy machine.
      connectTimeout: 30_000,
      bigIntAsNumber: true,
      insertIdAsNumber: true,
    });
    connection.on('error', () => undefined);
    this.#connections.add(connection);
    return connection;
  }

  /** Runs one statement on a connection of its own. */
  async sql(text: string): Promise<Row[]> {
    const connection = await this.connect();
    try {
      const result: unknown = await connection.query(text);
      return Array.isArray(result) ? result : [];
    } finally {
      this.#connections.delete(connection);
      await connection.end();
    }
  }

  /** A status or system variable by its name. */
  async variable(kind: 'STATUS' | 'VARIABLES', name: string): Promise<string | undefined> {
    const rows = await this.sql(`SHOW GLOBAL ${kind} LIKE '${name.replaceAll('_', '\\_')}'`);
    const value = rows[0]?.['Value'];
    return value === undefined ? undefined : String(value);
  }

  /** Shuts down in an orderly way. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /**
   * Ends the server with SIGKILL. "Between writes" stops every thread first, which lets each write() end. On tmpfs,
   * where Debian 13 has /tmp, Linux cuts the write() of a killed thread short at a multiple of 4 KiB, and InnoDB does
   * not mend every page of which a part was written.
   */
  async kill(moment: KillMoment = 'between writes'): Promise<void> {
    if (this.isRunning && moment === 'between writes') await stopThreads(this.pid);
    await this.#end('SIGKILL');
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    if (this.isRunning) {
      const exited = once(child, 'exit');
      child.ref();
      child.kill(signal);
      await exited;
    }
    for (const connection of this.#connections) connection.destroy();
    this.#connections.clear();
  }
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Ends the child with this process, also when an interruption makes it exit. */
function endWithProcess(child: ChildProcess): void {
  running.add(child);
  child.once('exit', () => running.delete(child));
}

/**
 * A plugin of MariaDB's own, installed or unpacked by scripts/setup.sh.
 * @throws Error when it is neither
 */
export function serverPlugin(name: string): string {
  const file = ['/usr/lib', '/usr/lib64', join(BUILD, 'mariadb-test/usr/lib'), join(BUILD, 'bench-plugins/usr/lib')]
    .flatMap((lib) => ['mysql', 'mariadb'].map((vendor) => join(lib, vendor, 'plugin', `${name}.so`)))
    .find((path) => existsSync(path));
  if (file === undefined) throw new Error(`no ${name}.so: scripts/setup.sh suite gets it, or scripts/setup.sh bench`);
  return file;
}

/**
 * A program of MariaDB's packages for servers or clients, installed or unpacked by scripts/setup.sh.
 * @throws Error when it is neither
 */
export function serverTool(name: string): string {
  const file = ['/usr/bin', join(BUILD, 'mariadb-test/usr/bin')]
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
  if (file === undefined) throw new Error(`no ${name}: scripts/setup.sh suite gets it`);
  return file;
}

/** The command prefix with which campaigns/checked-server.ts has servers and mariadb-backup started. */
export function watched(what: 'SERVER' | 'BACKUP' = 'SERVER'): string[] {
  const launcher: unknown = JSON.parse(process.env[`TEST_${what}_LAUNCHER`] ?? '[]');
  return Array.isArray(launcher) ? launcher.map(String) : [];
}

function asUser(user = 'root'): string[] {
  return process.getuid?.() === 0 ? [`--user=${user}`] : [];
}

function toArguments(options: ServerOptions): string[] {
  return Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const option = `--${name.replaceAll('_', '-')}`;
    return [value === true ? option : `${option}=${value}`];
  });
}

/** Options that load the plugin and point it at a KMS. */
export function pluginOptions(kmsUrl: string, changes: ServerOptions = {}): ServerOptions {
  return {
    plugin_load_add: 'aws_key_management',
    aws_key_management: 'FORCE_PLUS_PERMANENT',
    aws_key_management_master_key_id: 'alias/mariadb-encryption',
    aws_key_management_endpoint_url: kmsUrl,
    ...changes,
  };
}

/** The options that turn on all encryption of the server. */
export const EVERYTHING_ENCRYPTED: ServerOptions = {
  innodb_encrypt_tables: 'ON',
  innodb_encrypt_log: 'ON',
  innodb_encrypt_temporary_tables: 'ON',
  innodb_encryption_threads: 2,
  aria_encrypt_tables: 'ON',
  encrypt_tmp_disk_tables: 'ON',
  encrypt_tmp_files: 'ON',
  encrypt_binlog: 'ON',
  log_bin: 'binlog',
};
