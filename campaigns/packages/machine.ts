/** A machine with a clean Debian, its own MariaDB server running, and no network but loopback: one session in a root. */
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection } from 'mariadb';
import { type Codename, downloadDependencies, withSession } from '../../harness/clean-root.ts';
import { RootError, type RootSession } from '../../harness/root-session.ts';

const DATA = '/var/lib/mysql';
/** Packages that a machine may have and a clean root lacks: apt finds them without a network. */
const TOOLS = ['needrestart', 'rpm', 'xz-utils'];
/** Longer than an idle agent lives. */
const PATIENCE_MS = 60_000;

export class Machine {
  readonly session: RootSession;
  readonly systemd: boolean;

  constructor(session: RootSession, systemd: boolean) {
    this.session = session;
    this.systemd = systemd;
  }

  /** @returns the standard output; throws RootError for a status that is not 0 */
  async run(script: string, input = ''): Promise<string> {
    return await this.session.run(script, input);
  }

  /** The command service(8) does it in either way. */
  async service(action: 'start' | 'stop' | 'restart'): Promise<void> {
    await this.run(`service mariadb ${action}`);
  }

  /** @returns rows without heads, columns separated by tabs */
  async sql(statements: string): Promise<string> {
    return (await this.run('mariadb --batch --skip-column-names', statements)).trimEnd();
  }

  async connect(): Promise<Connection> {
    const socketPath = this.session.path('/run/mysqld/mysqld.sock');
    const connection = await createConnection({ socketPath, user: 'root' });
    // A failure after which the machine is gone is that of a statement, which reports it.
    connection.on('error', () => undefined);
    return connection;
  }

  /** Puts a file of this machine into root's home. */
  bring(file: string): string {
    const place = join('/root', basename(file));
    copyFileSync(file, this.session.path(place));
    return place;
  }

  /** Writes a file; its directory is made if it is missing. */
  async write(file: string, text: string, mode = '0644', owner = 'root'): Promise<void> {
    await this.run(`install -D -m ${mode} -o ${owner} /dev/null ${file}`);
    writeFileSync(this.session.path(file), text);
  }

  read(file: string): Buffer {
    return readFileSync(this.session.path(file));
  }

  list(directory: string): string[] {
    return readdirSync(this.session.path(directory)).sort();
  }

  /** Process id and start time: another server has other ones. */
  async server(): Promise<string> {
    return await this.run('pid=$(pidof mariadbd) && echo $pid $(cut -d" " -f22 /proc/$pid/stat)');
  }

  /** Names, sizes and checksums of all files of the server's data and configuration. */
  async serverFiles(): Promise<string> {
    const list = (directory: string): string =>
      `find ${directory} -printf '%p %y %s %m %u %g\\n' | sort; find ${directory} -type f -exec sha256sum {} + | sort -k 2`;
    return await this.run(`${list(DATA)}; ${list('/etc/mysql')}`);
  }

  /** @returns the same once the server has nothing more to write */
  async idleServerFiles(): Promise<string> {
    let before = await this.serverFiles();
    for (let second = 0; second < 60; second += 1) {
      await sleep(2000);
      const now = await this.serverFiles();
      if (now === before) return now;
      before = now;
    }
    throw new RootError('the server does not come to rest');
  }

  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    for (const started = performance.now(); performance.now() - started < PATIENCE_MS; await sleep(200))
      if (await holds()) return;
    throw new RootError(`not within ${PATIENCE_MS / 1000} s: ${what}`);
  }
}

export interface MachineKind {
  readonly codename: Codename;
  /** False: the server is started by its script in /etc/init.d. */
  readonly systemd: boolean;
  /** Packages of the release that the machine lacks, and that apt must find without a network. */
  readonly more?: readonly string[];
}

/** @param packages .deb files whose dependencies apt must find without a network */
export async function withMachine<T>(
  { codename, systemd, more = [] }: MachineKind,
  packages: readonly string[],
  action: (machine: Machine) => Promise<T>,
): Promise<T> {
  await downloadDependencies(codename, packages, [...TOOLS, ...more]);
  return await withSession(codename, systemd, async (session) => {
    const machine = new Machine(session, systemd);
    if (!systemd) await machine.service('start');
    await machine.until('the server has looked after its tables', async () => {
      return (await session.try('pgrep -f debian-start')).status !== 0;
    });
    return await action(machine);
  });
}

/** @throws RootError when the claim is false */
export function expectThat(holds: boolean, claim: string, said = ''): void {
  if (!holds) throw new RootError(`not so: ${claim}${said === '' ? '' : `\n${said}`}`);
}

export function expectSame(got: string, expected: string, subject: string): void {
  expectThat(got === expected, `${subject} is the same`, difference(expected, got));
}

function difference(before: string, after: string): string {
  const lost = (from: string, to: string, mark: string): string[] => {
    const kept = new Set(to.split('\n'));
    return from
      .split('\n')
      .filter((line) => !kept.has(line))
      .map((line) => `${mark} ${line}`);
  };
  return [...lost(before, after, '-'), ...lost(after, before, '+')].join('\n');
}
