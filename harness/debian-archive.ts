import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Addresses of the Debian archive, mirrors included, from which this machine gets its own release, in apt's own reading
 * of its sources. Each has every release.
 * @throws Error when no source has "main" of this machine's release
 */
export async function debianArchives(): Promise<[string, ...string[]]> {
  const own = /^VERSION_CODENAME="?(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '(unknown)';
  const { stdout } = await run('apt-get', ['update', '--print-uris'], { env: { ...process.env, LC_ALL: 'C' } });
  const uris = [...stdout.matchAll(/^'(.+)\/dists\/(\w+)\/main\/binary-/gm)]
    .filter(([, , suite = '']) => [own, 'stable', 'oldstable'].includes(suite))
    .map(([, uri = '']) => uri);
  const [first, ...rest] = new Set(uris);
  if (first === undefined) throw new Error(`none of this machine's apt sources has "main" of its own release ${own}`);
  return [first, ...rest];
}
