/**
 * Galera's state transfer scripts. Debian has them in mariadb-server, whose installation starts a service: the package
 * is unpacked into `build` and nothing is installed.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { BUILD, PATH } from './scratch-server.ts';

const run = promisify(execFile);
const LIMIT_MS = 240_000;

/**
 * The directory of the scripts that belong to the installed server. Downloads on the first call.
 * @throws Error with the reason, such as an archive that cannot be reached
 */
export async function sstScripts(): Promise<string> {
  const { stdout } = await run('dpkg-query', ['--status', 'mariadb-server-core']);
  const version = /^Version: (\S+)$/m.exec(stdout)?.[1] ?? '';
  const directory = join(BUILD, 'sst-scripts', version.replaceAll(/[^\w.+-]/g, '_'));
  if (!existsSync(directory)) await fetchScripts(`mariadb-server=${version}`, directory);
  return join(directory, 'bin');
}

/** Works in a directory of its own and renames it at the end: a directory with the final name is complete. */
async function fetchScripts(wanted: string, directory: string): Promise<void> {
  const fresh = `${directory}.${process.pid}`;
  const bin = join(fresh, 'wanted/bin');
  mkdirSync(bin, { recursive: true });
  try {
    const options = { cwd: fresh, env: { ...process.env, PATH, LC_ALL: 'C' }, timeout: LIMIT_MS };
    await run('apt-get', ['--quiet=2', 'download', wanted], options);
    const file = readdirSync(fresh).find((name) => name.endsWith('.deb')) ?? '';
    await run('dpkg-deb', ['--extract', join(fresh, file), join(fresh, 'tree')]);
    const all = join(fresh, 'tree/usr/bin');
    for (const name of readdirSync(all).filter((one) => one.startsWith('wsrep_sst_')))
      renameSync(join(all, name), join(bin, name));
    renameSync(dirname(bin), directory);
  } catch (error) {
    // Another process was faster; its directory is as good.
    if (!existsSync(directory)) throw new Error(`cannot get ${wanted} (is apt-get update due?)`, { cause: error });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
