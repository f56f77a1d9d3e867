/** Commands in a root directory, in namespaces of their own: what they start ends with the session, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { childrenOf } from './children.ts';

export interface SessionPlace {
  readonly root: string;
  /**
   * An empty directory that takes all that is written, so that the root stays as it is. The session has a network of its
   * own then, which is loopback alone. Without one, commands write to the root and have this machine's network and its
   * configuration of apt.
   */
  readonly copy?: string;
}

export interface Ran {
  /** Exit status; -1 when a signal ended the command. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, as a terminal would show them. */
  readonly output: string;
}

/** A thing that a root did and should not have, with what it said. */
export class RootError extends Error {
  override readonly name = 'RootError';
}

/**
 * The first process of the namespaces. Bash, because it collects the children of processes that ended. It ends when its
 * input does, which is when this process ends, and everything in the namespaces with it.
 */
const FIRST = `
set -eu
umask 022
root=$1 copy=$2
if [ -n "$copy" ]; then
  mkdir "$copy/upper" "$copy/work" "$copy/root"
  mount -t overlay overlay -o "lowerdir=$root,upperdir=$copy/upper,workdir=$copy/work" "$copy/root"
  root=$copy/root
  ip link set lo up
  echo debian >/proc/sys/kernel/hostname
else
  for path in /etc/hosts /etc/resolv.conf /etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates \
      /etc/apt/apt.conf.d /etc/apt/auth.conf /etc/apt/auth.conf.d; do
    [ -e "$path" ] || continue
    if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root\${path%/*}"; touch "$root$path"; fi
    mount --bind "$(readlink -f "$path")" "$root$path"
  done
fi
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
exec chroot "$root" bash -c 'echo ready; while read -r _; do :; done'
`;

const ENVIRONMENT: NodeJS.ProcessEnv = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};

const open = new Set<ChildProcess>();
process.on('exit', () => {
  for (const unshare of open) unshare.kill('SIGKILL');
});

export class RootSession {
  readonly #unshare: ChildProcess;
  readonly #pid: number;

  private constructor(unshare: ChildProcess, pid: number) {
    this.#unshare = unshare;
    this.#pid = pid;
  }

  /** @throws RootError when the namespaces cannot be made, as for users other than root */
  static async open({ root, copy = '' }: SessionPlace): Promise<RootSession> {
    const own = ['--mount', '--pid', '--uts', '--ipc', ...(copy === '' ? [] : ['--net'])];
    const unshare = spawn('unshare', [...own, '--fork', '--kill-child', 'bash', '-c', FIRST, 'bash', root, copy], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...ENVIRONMENT },
    });
    open.add(unshare);
    const said: string[] = [];
    unshare.stderr.on('data', (text: Buffer) => said.push(text.toString()));
    unshare.stdin.on('error', () => undefined);
    const ended = once(unshare, 'exit').finally(() => open.delete(unshare));
    const line = await Promise.race([once(createInterface(unshare.stdout), 'line'), ended]);
    const [pid] = line[0] === 'ready' ? childrenOf(unshare.pid ?? 0) : [];
    if (pid === undefined) throw new RootError(`cannot enter ${root}: ${said.join('')}`);
    return new RootSession(unshare, pid);
  }

  /** Path, on this machine, of a file of the session. */
  path(file: string): string {
    return join('/proc', String(this.#pid), 'root', file);
  }

  /**
   * Runs a script of bash as root. It returns when the script has ended, though processes in the background go on and
   * hold its output open.
   * @param input the script's standard input
   */
  async try(script: string, input = ''): Promise<Ran> {
    const child = spawn('nsenter', [...this.#entrance(), 'bash', '-c', script], { stdio: 'pipe', env: ENVIRONMENT });
    open.add(child);
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
    open.delete(child);
    // The rest of the output is in the pipes when the script has ended.
    await new Promise((resolve) => setImmediate(resolve));
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

  async close(): Promise<void> {
    const ended = this.#unshare.exitCode === null && this.#unshare.signalCode === null;
    if (!ended) return;
    const exit = once(this.#unshare, 'exit');
    this.#unshare.kill('SIGKILL');
    await exit;
  }

  #entrance(): string[] {
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--root', '--wdns=/root'];
    return ['--target', String(this.#pid), ...namespaces];
  }
}
