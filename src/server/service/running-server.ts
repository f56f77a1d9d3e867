import { join } from 'node:path';
import type { FileFacts, Files } from '../surroundings.ts';
import { parseEnviron, processIds, serviceOf, textOf, userOf } from './processes.ts';
import type { ServiceUnit } from './unit.ts';

/** A server process that runs in the data directory. */
export interface RunningServer {
  readonly pid: number;
  readonly uid: number;
  /** The service that started it; undefined: no service of systemd. */
  readonly unit: ServiceUnit | undefined;
  /** The environment of its start; undefined: the current user may not read it. */
  readonly environment: ReadonlyMap<string, string> | undefined;
}

const ROOT = 0;

/**
 * Finds the server that runs in a data directory. A server changes into its data directory, which is reliable, while a
 * pid file may be left over. But any user can run a process of that name and, in a container, in a directory of that
 * path. So the directory must be the same one, the process must belong to its owner or to root, and it must either be a
 * system service known here or see the same file systems as this process.
 * @param findUnit returns the unit of that name, if there is one
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
  for (const entry of await processIds(files, proc)) {
    const directory = join(proc, entry);
    const name = (await textOf(files, join(directory, 'comm')))?.trim();
    if (name !== 'mariadbd' && name !== 'mysqld') continue;
    if (!isSame(home, await factsOf(files, join(directory, 'cwd')))) continue;
    const uid = userOf(await textOf(files, join(directory, 'status')));
    if (uid === undefined || (uid !== home.uid && uid !== ROOT)) continue;
    const service = serviceOf(await textOf(files, join(directory, 'cgroup')));
    const unit = service === undefined ? undefined : await findUnit(service);
    // A systemd service often has its own mount namespace; in a service's cgroup only root can place a process.
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

function isSame(a: FileFacts | undefined, b: FileFacts | undefined): boolean {
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

async function factsOf(files: Files, path: string): Promise<FileFacts | undefined> {
  return await files.stat(path).catch(() => undefined);
}
