/** Commands in a root directory, in namespaces of their own: what they start ends with the session, however it ends. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { childrenOf } from './children.ts';
import { removeLeftovers } from './scratch-directory.ts';

export interface SessionPlace {
  readonly root: string;
  /**
   * An empty directory that takes all that is written, so that the root stays as it is. The session has a network of its
   * own then, which is loopback alone. Without one, commands write to the root and have this machine's network and its
   * configuration of apt.
   */
  readonly copy?: string;
  /** The root's own systemd runs as the first process, with all services that are enabled. */
  readonly systemd?: boolean;
}

export interface Ran {
  /** Exit status; -1 when a signal ended the command. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, as a terminal would show them. */
  readonly output: string;
}

/** A root did not do as it should; the message has what it said. */
export class RootError extends Error {
  override readonly name = 'RootError';
}

const ENVIRONMENT: NodeJS.ProcessEnv = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};
const BOOT_MS = 90_000;
const SHUTDOWN_MS = 120_000;

const open = new Set<RootSession>();
process.on('exit', () => {
  for (const session of open) session.end();
});

interface Inside {
  readonly first: ChildProcess;
  /** The first process of the namespaces, as this machine sees it. */
  readonly pid: number;
  /** Empty: no systemd runs. */
  readonly cgroup: string;
}

export class RootSession {
  readonly #place: SessionPlace;
  #inside: Inside;

  private constructor(place: SessionPlace, inside: Inside) {
    this.#place = place;
    this.#inside = inside;
    open.add(this);
  }

  /** @throws RootError when the namespaces cannot be made, as for users other than root */
  static async open(place: SessionPlace): Promise<RootSession> {
    const session = new RootSession(place, await enter(place));
    if (place.systemd === true) await session.#untilBooted();
    return session;
  }

  /** Shuts the root's systemd down in an orderly way, and starts it again: /run and /tmp are empty then. */
  async reboot(): Promise<void> {
    const { first, cgroup } = this.#inside;
    const exit = once(first, 'exit');
    await this.try('systemctl --no-block poweroff');
    const late = sleep(SHUTDOWN_MS, 'late', { ref: false });
    if ((await Promise.race([exit, late])) === 'late') {
      const jobs = await this.try('systemctl --no-pager list-jobs');
      throw new RootError(`systemd does not end within ${SHUTDOWN_MS / 1000} s: ${jobs.output}`);
    }
    removeCgroup(cgroup);
    this.#inside = await enter(this.#place);
    await this.#untilBooted();
  }

  /** Path, on this machine, of a file of the session. */
  path(file: string): string {
    return join('/proc', String(this.#inside.pid), 'root', file);
  }

  /**
   * Runs a script of bash as root, in root's home. It returns when the script has ended, though processes in the
   * background go on and hold its output open.
   * @param input the script's standard input
   */
  async try(script: string, input = ''): Promise<Ran> {
    const child = spawn('nsenter', [...this.#entrance(), 'bash', '-c', script], { stdio: 'pipe', env: ENVIRONMENT });
    const [stdout, stderr, output]: [string[], string[], string[]] = [[], [], []];
    const take = (into: string[]) => (text: Buffer) => {
      into.push(text.toString());
      output.push(text.toString());
    };
    child.stdout.on('data', take(stdout));
    child.stderr.on('data', take(stderr));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [status]: (number | null)[] = await once(child, 'exit');
    // The rest of the output is in the pipes when the script has ended.
    await sleep(10);
    child.stdout.destroy();
    child.stderr.destroy();
    return { status: status ?? -1, stdout: stdout.join(''), stderr: stderr.join(''), output: output.join('') };
  }

  /**
   * The same for scripts that must succeed.
   * @returns the standard output
   * @throws RootError with all that the script said
   */
  async run(script: string, input = ''): Promise<string> {
    const ran = await this.try(script, input);
    if (ran.status !== 0) throw new RootError(`status ${ran.status} of: ${script}\n${ran.output}`);
    return ran.stdout;
  }

  /** Ends everything in the session at once. */
  end(): void {
    const { first, cgroup } = this.#inside;
    first.kill('SIGKILL');
    removeCgroup(cgroup);
    open.delete(this);
  }

  async close(): Promise<void> {
    const { first } = this.#inside;
    if (first.exitCode === null && first.signalCode === null) {
      const exit = once(first, 'exit');
      first.kill('SIGKILL');
      await exit;
    }
    this.end();
  }

  async #untilBooted(): Promise<void> {
    let state = '';
    for (const started = performance.now(); performance.now() - started < BOOT_MS; await sleep(300)) {
      state = (await this.try('systemctl is-system-running --wait')).output;
      if (/^(?:running|degraded)$/m.test(state)) return;
    }
    const failed = await this.try('systemctl --no-pager --failed; systemctl --no-pager list-jobs');
    await this.close();
    throw new RootError(`systemd is not up within ${BOOT_MS / 1000} s: ${state}${failed.output}`);
  }

  #entrance(): string[] {
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--root', '--wdns=/root'];
    return ['--target', String(this.#inside.pid), ...(this.#inside.cgroup === '' ? [] : ['--cgroup']), ...namespaces];
  }
}

/** Makes the namespaces. @throws RootError */
async function enter({ root, copy = '', systemd = false }: SessionPlace): Promise<Inside> {
  const cgroup = systemd ? newCgroup() : '';
  const script = join(import.meta.dirname, 'enter-root.sh');
  // The first process ends when this one does, even if nothing here runs any more.
  const first = spawn('setpriv', ['--pdeathsig', 'KILL', 'bash', script, root, copy, cgroup], {
    stdio: 'pipe',
    env: ENVIRONMENT,
  });
  const said: string[] = [];
  first.stderr.on('data', (text: Buffer) => said.push(text.toString()));
  first.stdin.on('error', () => undefined);
  const line = await Promise.race([once(createInterface(first.stdout), 'line'), once(first, 'exit')]);
  const [pid] = line[0] === 'ready' ? childrenOf(first.pid ?? 0) : [];
  if (pid !== undefined) return { first, pid, cgroup };
  removeCgroup(cgroup);
  throw new RootError(`cannot enter ${root}: ${said.join('')}`);
}

/** Makes a cgroup of version 2, in which systemd manages its services. */
function newCgroup(): string {
  const [hierarchy = ''] = execFileSync('findmnt', ['-nt', 'cgroup2', '-o', 'TARGET'], { encoding: 'utf8' }).split(
    '\n',
  );
  const prefix = 'mariadb-aws-kms.';
  removeLeftovers(hierarchy, prefix, removeEmptyTree);
  return mkdtempSync(join(hierarchy, `${prefix}${process.pid}.`));
}

/** Waits without turns of the event loop: a process that exits has none. */
function removeCgroup(cgroup: string): void {
  if (cgroup === '') return;
  for (let attempt = 0; ; attempt += 1) {
    try {
      removeEmptyTree(cgroup);
      return;
    } catch (error) {
      // Its processes are being ended.
      if (attempt === 50) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
}

/** Files of a cgroup cannot be removed, and need not be. */
function removeEmptyTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmptyTree(join(directory, entry.name));
  rmdirSync(directory);
}
