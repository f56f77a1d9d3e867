/**
 * Makes build and packages twice: in directories whose names differ in length, under different umasks, and 40 days apart.
 * Exit status 1 if any file differs.
 *   npm run test:reproducible [-- KIND…]   kinds of packages, as of `npm run package`; `none` compares the build only
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withScratchDirectory } from '../harness/scratch-directory.ts';
import { BUILD } from '../harness/scratch-server.ts';
import { readSource } from '../scripts/source.ts';

const root = join(import.meta.dirname, '..');
const kinds = process.argv.slice(2);

/** Commands in the order in which they run, each a script with its arguments. */
const COMMANDS = [['scripts/build.ts'], ...(kinds.includes('none') ? [] : [['scripts/package.ts', ...kinds]])];

/** Directories below `build` whose files are compared. */
const COMPARED = ['plugin', 'notices', 'packages'];

interface Way {
  readonly directory: string;
  readonly umask: string;
  /** As faketime -f has it, from now. */
  readonly time: string;
}

const WAYS: readonly [Way, Way] = [
  { directory: 'a', umask: '022', time: '+0d' },
  { directory: 'a-directory-with-a-longer-name', umask: '077', time: '+40d' },
];

/** Builds a copy of the tracked files. @returns checksums by path below `build` */
function makeIn(scratch: string, { directory, umask, time }: Way): Map<string, string> {
  const tree = join(scratch, directory);
  const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0');
  for (const file of tracked.filter((name) => name !== '' && existsSync(join(root, name))))
    cpSync(join(root, file), join(tree, file));
  // Links, not a symbolic link: esbuild would find the packages outside the tree.
  execFileSync('cp', ['-al', join(root, 'node_modules'), tree]);
  // The copy has no history.
  const { commit, epoch } = readSource();
  const env = { ...process.env, SOURCE_COMMIT: commit, SOURCE_DATE_EPOCH: String(epoch) };
  for (const command of COMMANDS) {
    console.log(`${directory}: umask ${umask}, ${time}: ${command.join(' ')}`);
    const script = 'umask "$1" && shift && exec faketime -f "$@"';
    execFileSync('sh', ['-c', script, 'sh', umask, time, process.execPath, ...command], {
      cwd: tree,
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return checksums(join(tree, 'build'));
}

function checksums(build: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const name of COMPARED.filter((each) => existsSync(join(build, each))))
    for (const entry of readdirSync(join(build, name), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      sums.set(path.slice(build.length + 1), createHash('sha256').update(readFileSync(path)).digest('hex'));
    }
  return sums;
}

mkdirSync(BUILD, { recursive: true });
await withScratchDirectory(
  'reproducible.',
  async (scratch) => {
    const [first, second] = [makeIn(scratch, WAYS[0]), makeIn(scratch, WAYS[1])];
    if (first.size === 0) throw new Error('nothing was built');
    for (const path of new Set([...first.keys(), ...second.keys()])) {
      const [one = 'absent', other = 'absent'] = [first.get(path), second.get(path)];
      console.log(one === other ? `same       ${one}  ${path}` : `DIFFERENT  ${one} and ${other}  ${path}`);
      if (one !== other) process.exitCode = 1;
    }
  },
  // On the file system of node_modules, for links.
  BUILD,
);
