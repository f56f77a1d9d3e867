import { join } from 'node:path';
import type { Files } from '../surroundings.ts';

/** A server that runs in that data directory. */
export interface RunningServer {
  readonly pid: number;
  /** `mariadb@orders.service`; undefined: no service of systemd started it. */
  readonly unit: string | undefined;
  /** What it was started with; undefined: whoever asks may not look. */
  readonly environment: ReadonlyMap<string, string> | undefined;
}

/** The server changes into its data directory: that tells it from others, where a pid file may be of a server that has gone. */
export async function findRunningServer(
  files: Files,
  proc: string,
  datadir: string,
): Promise<RunningServer | undefined> {
  const wanted = await files.realpath(datadir).catch(() => datadir);
  const entries = await files.keyDirectory.readdir(proc).catch(() => []);
  for (const entry of entries.filter((name) => /^\d+$/.test(name))) {
    const directory = join(proc, entry);
    const name = (await textOf(files, join(directory, 'comm')))?.trim();
    if (name !== 'mariadbd' && name !== 'mysqld') continue;
    const where = await files.realpath(join(directory, 'cwd')).catch(() => undefined);
    if (where !== wanted) continue;
    const environment = await textOf(files, join(directory, 'environ'));
    const cgroup = await textOf(files, join(directory, 'cgroup'));
    return {
      pid: Number(entry),
      unit: /\/([^/\n]+\.service)(?:\/|$)/m.exec(cgroup ?? '')?.[1],
      environment: environment === undefined ? undefined : parseEnviron(environment),
    };
  }
  return undefined;
}

function parseEnviron(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\0').flatMap((pair) => {
      const at = pair.indexOf('=');
      return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)] as const] : [];
    }),
  );
}

async function textOf(files: Files, path: string): Promise<string | undefined> {
  return await files.readFile(path).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  );
}
