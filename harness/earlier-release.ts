/** Plugin and agent of an earlier commit, built from this clone's history: an upgrade leaves one of them beside today's. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { BUILD } from './scratch-server.ts';

const root = join(import.meta.dirname, '..');
const RECORD = 'test/vectors/earlier-release.txt';

/** The recorded commit: its plugin and its agent speak protocol 1 only. */
export const EARLIER_COMMIT = readFileSync(join(root, RECORD), 'utf8').trim();

/**
 * Builds the commit below build/earlier/, once, with the Node.js and the npm packages of today.
 * @returns the directory that holds its aws_key_management.so and its aws_key_management_agent
 * @throws Error when this clone lacks the commit
 */
export function buildEarlierRelease(commit = EARLIER_COMMIT): string {
  const tree = join(BUILD, 'earlier', commit);
  if (!existsSync(tree)) {
    assertHistory(commit);
    mkdirSync(join(BUILD, 'earlier'), { recursive: true });
    const fresh = mkdtempSync(join(BUILD, 'earlier/fresh-'));
    try {
      const archive = execFileSync('git', ['archive', commit], { cwd: root, maxBuffer: 256 * 1024 * 1024 });
      execFileSync('tar', ['-x', '-C', fresh], { input: archive });
      symlinkSync(join(root, 'node_modules'), join(fresh, 'node_modules'));
      execFileSync(process.execPath, [join(fresh, 'scripts/build.ts')], { stdio: ['ignore', 'ignore', 'inherit'] });
      renameSync(fresh, tree);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  }
  return join(tree, 'build/plugin');
}

function assertHistory(commit: string): void {
  try {
    execFileSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: root, stdio: 'ignore' });
  } catch (cause) {
    throw new Error(
      `this clone lacks commit ${commit}, from which plugin and agent of an earlier release are built: clone with the whole history (git fetch --unshallow)`,
      { cause },
    );
  }
}
