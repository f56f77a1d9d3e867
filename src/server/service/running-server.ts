import { join } from 'node:path';
import type { FileFacts, Files } from '../surroundings.ts';
import type { ServiceUnit } from './unit.ts';

/** A server that runs in that data directory. */
export interface RunningServer {
  readonly pid: number;
  readonly uid: number;
  /** What started it; undefined: no service of systemd. */
  readonly unit: ServiceUnit | undefined;
  /** What it was started with; undefined: whoever asks may not look. */
  readonly environment: ReadonlyMap<string, string> | undefined;
}

const ROOT = 0;

/**
 * The server changes into its data directory: that tells it from others, where a pid file may be of a server that has gone.
 * Any user can give a process that name and, in a container, a directory of that name: so the directory must be the same
 * one, the process that of its owner or of root, and either a system service that is known here or a process that sees the
 * same file systems as we do.
 * @param findUnit the unit of that name, if there is one
 */
export async function findRunningServer(
  files: Files,
  proc: string,
  datadir: string,
  findUnit: (name: string) => Promise<ServiceUnit | undefined>,
): Promise<RunningServer | undefined> {
  const home = await factsOf(files, datadir);
  if (home === undefined) return undefined;
  const ours = await factsOf(files, join(proc, 'self/ns/mnt'));
  const entries = await files.keyDirectory.readdir(proc).catch(() => []);
  for (const entry of entries.filter((name) => /^\d+$/.test(name))) {
    const directory = join(proc, entry);
    const name = (await textOf(files, join(directory, 'comm')))?.trim();
    if (name !== 'mariadbd' && name !== 'mysqld') continue;
    if (!isSame(home, await factsOf(files, join(directory, 'cwd')))) continue;
    const uid = userOf(await textOf(files, join(directory, 'status')));
    if (uid === undefined || (uid !== home.uid && uid !== ROOT)) continue;
    const service = serviceOf(await textOf(files, join(directory, 'cgroup')));
    const unit = service === undefined ? undefined : await findUnit(service);
    // A service of systemd often has file systems of its own; where it is nobody but root puts a process.
    if (unit === undefined && !isSame(ours, await factsOf(files, join(directory, 'ns/mnt')))) continue;
    const environment = await textOf(files, join(directory, 'environ'));
    return {
      pid: Number(entry),
      uid,
      unit,
      environment: environment === undefined ? undefined : parseEnviron(environment),
    };
  }
  return undefined;
}

/** Real, effective, saved and file system user; undefined: they differ, as those of a setuid program that somebody runs. */
function userOf(status: string | undefined): number | undefined {
  const [, real, ...others] = /^Uid:\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$/m.exec(status ?? '') ?? [];
  return real !== undefined && others.every((id) => id === real) ? Number(real) : undefined;
}

/** Below slices of the system only: users have units of their own, and so has what runs in a container. */
function serviceOf(cgroup: string | undefined): string | undefined {
  const [, path = ''] = /^(?:0:|\d+:name=systemd):(\/.*)$/m.exec(cgroup ?? '') ?? [];
  if (/^\/(?:user|machine)\.slice\//.test(path)) return undefined;
  return /^\/(?:[^/]+\.slice\/)*([^/]+\.service)$/.exec(path)?.[1];
}

function isSame(a: FileFacts | undefined, b: FileFacts | undefined): boolean {
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

function parseEnviron(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\0').flatMap((pair) => {
      const at = pair.indexOf('=');
      return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)] as const] : [];
    }),
  );
}

async function factsOf(files: Files, path: string): Promise<FileFacts | undefined> {
  return await files.stat(path).catch(() => undefined);
}

async function textOf(files: Files, path: string): Promise<string | undefined> {
  return await files.readFile(path).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  );
}
