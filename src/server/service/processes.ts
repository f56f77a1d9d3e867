/** Texts below /proc that tell who runs a process, and with which environment: proc(5). */
import type { Files } from '../surroundings.ts';

/**
 * Real, effective, saved and file system user id; undefined if they differ, as in a setuid program that anybody can
 * run.
 */
export function userOf(status: string | undefined): number | undefined {
  const [, real, ...others] = /^Uid:\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$/m.exec(status ?? '') ?? [];
  return real !== undefined && others.every((id) => id === real) ? Number(real) : undefined;
}

/** Accepts system slices only: users have units of their own, and so have containers. */
export function serviceOf(cgroup: string | undefined): string | undefined {
  const [, path = ''] = /^(?:0:|\d+:name=systemd):(\/.*)$/m.exec(cgroup ?? '') ?? [];
  if (/^\/(?:user|machine)\.slice\//.test(path)) return undefined;
  return /^\/(?:[^/]+\.slice\/)*([^/]+\.service)$/.exec(path)?.[1];
}

export function parseEnviron(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\0').flatMap((pair) => {
      const at = pair.indexOf('=');
      return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)] as const] : [];
    }),
  );
}

/** Returns the ids of all processes, as names of directories. */
export async function processIds(files: Files, proc: string): Promise<readonly string[]> {
  const entries = await files.keyDirectory.readdir(proc).catch(() => []);
  return entries.filter((name) => /^\d+$/.test(name));
}

export async function textOf(files: Files, path: string): Promise<string | undefined> {
  return await files.readFile(path).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  );
}
