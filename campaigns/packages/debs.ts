/** The packages under test. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildEarlierRelease } from '../../harness/earlier-release.ts';
import { BUILD } from '../../harness/scratch-server.ts';
import { readSource } from '../../scripts/source.ts';

const root = join(import.meta.dirname, '../..');
/**
 * The earlier commit. It is the last one before there were packages: its plugin says another version than this tree's,
 * so that one sees which of them a server runs, and its protocol is this tree's, so that each plugin works with the agent
 * of the other package in both directions.
 */
const EARLIER = readFileSync(join(import.meta.dirname, 'earlier'), 'utf8').trim();

export function currentDeb(): string {
  return builtPackage('.deb');
}

/** Packs the earlier commit's build with today's script, as a version that is older than this tree's. */
export function packEarlierDeb(): string {
  const out = join(BUILD, 'packages-earlier');
  const build = dirname(buildEarlierRelease(EARLIER));
  const count = execFileSync('git', ['rev-list', '--count', EARLIER], { cwd: root, encoding: 'utf8' }).trim();
  const { version } = readSource();
  rmSync(out, { recursive: true, force: true });
  const script = [join(root, 'scripts/package.ts'), 'deb', '--fast', '--build', build, '--out', out];
  execFileSync(process.execPath, [...script, '--version', `${version}~git${count}`], {
    stdio: ['ignore', 'ignore', 2],
  });
  return only('.deb', out);
}

/**
 * @param ending of the package's name
 * @throws Error when `npm run package` has not made exactly one
 */
export function builtPackage(ending: string): string {
  return only(ending, join(BUILD, 'packages'));
}

function only(ending: string, directory: string): string {
  const found = readdirSync(directory).filter((name) => name.endsWith(ending));
  const [name] = found;
  if (name === undefined || found.length > 1)
    throw new Error(`${directory} has ${found.length} packages ${ending}, expected 1: npm run package`);
  return join(directory, name);
}
