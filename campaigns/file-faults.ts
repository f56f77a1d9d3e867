/** Injects every fault of the key files' storage at every moment at which a server needs it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { AgentLauncher, endAgent, failingCall } from '../harness/agent-launcher.ts';
import { childrenOf } from '../harness/children.ts';
import { compileNative } from '../harness/native.ts';
import { pluginOptions, ScratchServer } from '../harness/scratch-server.ts';
import { brokenPromises, type Cell, type End, type Moment, makeData, runEach, Trial } from '../harness/trial.ts';
import { systemClock } from '../src/cli/system.ts';
import { type DevKms, startDevKms } from '../src/dev-kms/index.ts';
import { systemErrorCode } from '../src/errors.ts';

/** The user that servers run as: root may read and write everything. */
const USER = 'nobody';
const AT_ONCE = 3;
const STATEMENTS = ['create', 'rotate'] as const;
export const FAULT_MOMENTS: readonly Moment[] = ['start', ...STATEMENTS];
const DAY_S = 86_400;
const WALL_CLOCK = join(import.meta.dirname, '../test/native/wall_clock.c');
/** A statement that fails without changing anything or calling KMS, but starts an agent. */
const WAKE_AGENT = 'SET GLOBAL aws_key_management_rotate_key=4294967295';

export interface Fault {
  readonly what: string;
  /** Default: all moments. */
  readonly moments?: readonly Moment[];
  readonly begin: (place: Place, moment: Moment) => End | Promise<End>;
}

export interface FaultReport {
  readonly fault: Fault;
  readonly cells: readonly Cell[];
  readonly nextStartError: string;
}

/** A server whose key directory is on a file system of its own, in a mount namespace that ends with this process. */
class Place {
  readonly server: ScratchServer;
  /** The directory of one trial. */
  readonly directory: string;
  readonly agent: AgentLauncher;
  /** The file system and the key directory on it, as seen from this process. */
  readonly disk: string;
  readonly keys: string;
  readonly #namespace: ChildProcess;
  readonly #mountPoint: string;

  private constructor(directory: string, kms: DevKms, namespace: ChildProcess) {
    this.directory = directory;
    this.#namespace = namespace;
    this.#mountPoint = join(directory, 'disk');
    this.disk = `/proc/${namespace.pid}/root${this.#mountPoint}`;
    this.keys = join(this.disk, 'keys');
    this.agent = new AgentLauncher(directory);
    this.server = new ScratchServer({
      directory: join(directory, 'server'),
      user: USER,
      launcher: ['nsenter', ...inside(namespace)],
      options: pluginOptions(kms.url, {
        aws_key_management_agent: this.agent.path,
        aws_key_management_keyfile_dir: join(this.#mountPoint, 'keys'),
        aws_key_management_watch_interval: 0,
      }),
    });
  }

  static async open(directory: string, kms: DevKms): Promise<Place> {
    mkdirSync(join(directory, 'disk'), { recursive: true });
    chmodSync(directory, 0o755);
    // `cat` keeps the namespace until its input ends.
    const namespace = spawn('unshare', ['--mount', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const place = new Place(directory, kms, namespace);
    try {
      while (readFileSync(`/proc/${namespace.pid}/comm`, 'utf8') !== 'cat\n') await pause(5);
      place.#inside('mount', '-t', 'tmpfs', '-o', 'size=128k,mode=0755', 'tmpfs', place.#mountPoint);
      place.makeKeyDirectory();
      return place;
    } catch (error) {
      place.#namespace.kill();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.server.kill();
    this.#namespace.stdin?.end();
  }

  makeKeyDirectory(): void {
    mkdirSync(this.keys, { mode: 0o750 });
    execFileSync('chown', [USER, this.keys]);
  }

  remount(options: string): void {
    this.#inside('mount', '-o', `remount,${options}`, this.#mountPoint);
  }

  #inside(...command: readonly string[]): void {
    execFileSync('nsenter', [...inside(this.#namespace), ...command]);
  }
}

/** The arguments of nsenter for the namespace. It changes the root directory, so that of this process is given. */
function inside({ pid }: ChildProcess): readonly string[] {
  return [`--mount=/proc/${pid}/ns/mnt`, `--root=/proc/${pid}/root`, '--wd=/'];
}

function fill(disk: string): void {
  try {
    for (;;) appendFileSync(join(disk, 'filler'), Buffer.alloc(4096));
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOSPC') throw error;
  }
}

async function wakeAgent(server: ScratchServer): Promise<number> {
  const said = await server.sql(WAKE_AGENT).then(String, String);
  const [pid] = childrenOf(server.pid);
  if (pid === undefined) throw new Error(`the agent does not run: ${said}`);
  return pid;
}

/** Starts later agents with the command prefix, and ends the running one. */
function agents(what: string, prefix: string): Fault {
  return {
    what,
    begin: async (place) => {
      await restartAgent(place, prefix);
      return () => restartAgent(place, '');
    },
  };
}

async function restartAgent({ server, agent }: Place, prefix: string): Promise<void> {
  agent.prefix(prefix);
  if (server.isRunning) await endAgent(server);
}

const DIRECTORY_FAULTS: readonly Fault[] = [
  {
    what: 'the file system is full',
    begin: ({ disk }) => {
      fill(disk);
      return () => rmSync(join(disk, 'filler'));
    },
  },
  {
    what: 'the file system is read-only',
    begin: (place) => {
      place.remount('ro');
      return () => place.remount('rw');
    },
  },
  agents('the file system reports an error when it is synced', failingCall('fsync:error=EIO')),
  {
    what: 'the directory is gone',
    begin: ({ keys }) => {
      renameSync(keys, `${keys}.away`);
      return () => renameSync(`${keys}.away`, keys);
    },
  },
  {
    what: 'the directory is empty, as when its file system is not mounted',
    begin: (place) => {
      const { keys } = place;
      renameSync(keys, `${keys}.away`);
      place.makeKeyDirectory();
      return () => {
        rmSync(keys, { recursive: true });
        renameSync(`${keys}.away`, keys);
      };
    },
  },
  withMode('the user of the server may read the directory and not write it', 0o555),
  withMode('the user of the server may not enter the directory', 0o000),
];

function withMode(what: string, mode: number): Fault {
  return {
    what,
    begin: ({ keys }) => {
      chmodSync(keys, mode);
      return () => chmodSync(keys, 0o750);
    },
  };
}

let wallClockLibrary: string | undefined;

/** The library is compiled before the faults, because it stays in use. */
function wallClock(): string {
  wallClockLibrary ??= compileNative(WALL_CLOCK, 'library', '-O1');
  return wallClockLibrary;
}

/** Lets the clock jump for a running agent, except at the start. */
function clockJumps(what: string, seconds: number): Fault {
  return {
    what,
    begin: async (place, moment) => {
      const clock = join(place.directory, 'clock');
      await restartAgent(place, `env LD_PRELOAD=${wallClock()} WALL_CLOCK_OFF_BY=${clock}`);
      if (moment !== 'start') await wakeAgent(place.server);
      writeFileSync(clock, String(seconds));
      return async () => {
        rmSync(clock);
        await restartAgent(place, '');
      };
    },
  };
}

const PROCESS_FAULTS: readonly Fault[] = [
  {
    what: 'the agent has no file descriptors left',
    moments: STATEMENTS,
    begin: async ({ server }) => exhaustDescriptors(await wakeAgent(server)),
  },
  {
    what: 'the server has no file descriptors left and needs an agent',
    moments: ['rotate'],
    begin: async ({ server }) => {
      await endAgent(server);
      // Files that are open already remain usable.
      await server.sql('SELECT 1 FROM d.t1, d.t3');
      return exhaustDescriptors(server.pid);
    },
  },
  clockJumps('the clock jumps back by a day', -DAY_S),
  clockJumps('the clock jumps ahead by a day', DAY_S),
];

function exhaustDescriptors(pid: number): End {
  const before = prlimit(pid, '--nofile', '--output=SOFT', '--noheadings').trim();
  prlimit(pid, `--nofile=${nextDescriptor(pid)}:`);
  return () => void prlimit(pid, `--nofile=${before}:`);
}

/** Runs prlimit as the server's user: in a container root may lack the capability to limit other users' processes. */
function prlimit(pid: number, ...args: readonly string[]): string {
  const [uid, gid] = ['-u', '-g'].map((option) => Number(execFileSync('id', [option, USER])));
  return execFileSync('prlimit', [`--pid=${pid}`, ...args], { uid, gid, encoding: 'utf8' });
}

/** The lowest free descriptor number: as the limit, it prevents opening any file. */
function nextDescriptor(pid: number): number {
  const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let free = 0;
  while (taken.has(free)) free += 1;
  return free;
}

interface Way {
  readonly what: string;
  readonly moments?: readonly Moment[];
  readonly make: (path: string, original: Buffer) => void;
}

const READABLE = { mode: 0o644 };

const WAYS: readonly Way[] = [
  { what: 'is truncated', make: (path, original) => writeFileSync(path, original.subarray(0, 10), READABLE) },
  { what: 'is empty', make: (path) => writeFileSync(path, '', READABLE) },
  {
    what: 'is a terabyte long',
    make: (path) => {
      writeFileSync(path, '', READABLE);
      truncateSync(path, 2 ** 40);
    },
  },
  { what: 'may not be read by the user of the server', make: (path) => writeFileSync(path, 'x', { mode: 0o600 }) },
  { what: 'is a directory', make: (path) => mkdirSync(path) },
  { what: 'is a FIFO', make: (path) => execFileSync('mkfifo', ['--mode=0644', path]) },
  { what: 'is a link to nothing', make: (path) => symlinkSync('nowhere', path) },
  {
    what: 'is a link to the file elsewhere',
    moments: ['start', 'rotate'],
    make: (path, original) => {
      writeFileSync(join(path, '../../elsewhere'), original, READABLE);
      symlinkSync('../elsewhere', path);
    },
  },
];

/** Faults of the file of the statement's key; for a new key, of an existing file. */
function fileFaults(kind: string, ending: string): readonly Fault[] {
  return WAYS.map(({ what, moments, make }) => ({
    what: `the ${kind} ${what}`,
    ...(moments && { moments }),
    begin: ({ disk, keys }, moment) => {
      const [stored, saved] = [join(keys, `aws-kms-key.3.1${ending}`), join(disk, 'saved')];
      const original = readFileSync(stored);
      if (moment === 'create') {
        const fresh = join(keys, `aws-kms-key.50.1${ending}`);
        make(fresh, original);
        return () => rmSync(fresh, { recursive: true });
      }
      renameSync(stored, saved);
      make(stored, original);
      return () => {
        rmSync(stored, { recursive: true });
        renameSync(saved, stored);
      };
    },
  }));
}

export const FAULTS: readonly Fault[] = [
  ...DIRECTORY_FAULTS,
  ...PROCESS_FAULTS,
  ...fileFaults('key file', ''),
  ...fileFaults('sidecar', '.json'),
];

/** @param directory an empty one; @param template an initialised data directory */
export async function runFaults(
  directory: string,
  template: string,
  faults: readonly Fault[] = FAULTS,
): Promise<FaultReport[]> {
  if (process.getuid?.() !== 0) throw new Error('a file system of its own for the key files needs root');
  chmodSync(directory, 0o755);
  const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
  const origin = new ScratchServer({ directory: join(directory, 'origin'), options: pluginOptions(kms.url) });
  try {
    origin.copyDatabase(template);
    await makeData(origin);
    return await runEach(faults, AT_ONCE, async (fault, index) => {
      const place = await Place.open(join(directory, String(index)), kms);
      try {
        return await runFault(fault, place, origin.datadir);
      } finally {
        await place.close();
      }
    });
  } finally {
    await origin.kill();
    await kms.close();
  }
}

async function runFault(fault: Fault, place: Place, datadir: string): Promise<FaultReport> {
  const { server, keys } = place;
  server.copyDatabase(datadir);
  const files = readdirSync(server.datadir).filter((name) => name.startsWith('aws-kms-key.'));
  execFileSync('mv', [...files.map((name) => join(server.datadir, name)), keys]);
  const trial = new Trial({ server, keyDirectory: keys, begin: (moment) => fault.begin(place, moment) });
  const has = (moment: Moment): boolean => fault.moments?.includes(moment) ?? true;
  const cells: Cell[] = [];
  if (has('start')) cells.push(await trial.start());
  else await server.start();
  cells.push(...(await trial.actions(STATEMENTS.filter(has).map((statement) => [statement]))));
  return { fault, cells, nextStartError: await trial.next() };
}

/** The broken promises of one fault, a line each. */
export function brokenByFault({ fault, cells, nextStartError }: FaultReport): string[] {
  const broken = brokenPromises(cells);
  if (nextStartError !== '') broken.push(`the next start failed: ${nextStartError}`);
  return broken.map((text) => `when ${fault.what}: ${text}`);
}
