/** Release, commit and date of the sources. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import manifest from '../package.json' with { type: 'json' };

export interface Source {
  /** The version in package.json, such as `0.1.0`. */
  readonly version: string;
  /** 12 hexadecimal digits, `-dirty` after them if tracked files were changed since; `unknown` if nothing tells. */
  readonly commit: string;
  /** Seconds since 1970, for every time that a file of the build or a package states. */
  readonly epoch: number;
}

const root = join(import.meta.dirname, '..');
const LENGTH = 12;

/**
 * Reads the commit and its date from the variables `SOURCE_COMMIT` and `SOURCE_DATE_EPOCH`, else from git, else from the
 * file `scripts/source-commit`, which `git archive` fills in.
 */
export function readSource(environment: NodeJS.ProcessEnv = process.env): Source {
  const { SOURCE_COMMIT, SOURCE_DATE_EPOCH } = environment;
  const [commit = 'unknown', epoch = '0'] =
    SOURCE_COMMIT !== undefined && SOURCE_DATE_EPOCH !== undefined ? [] : (fromGit() ?? fromArchive());
  return {
    version: manifest.version,
    commit: SOURCE_COMMIT?.replace(/^([0-9a-f]{12})[0-9a-f]*/, '$1') ?? commit,
    epoch: Number(SOURCE_DATE_EPOCH ?? epoch),
  };
}

function fromGit(): readonly string[] | undefined {
  try {
    // A checkout without .git may lie in the working tree of something else.
    if (git('rev-parse', '--show-cdup') !== '') return undefined;
    const [commit = '', epoch = ''] = git('log', '-1', '--format=%H %ct').split(' ');
    const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '-dirty';
    return [commit.slice(0, LENGTH) + changed, epoch];
  } catch {
    return undefined;
  }
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

function fromArchive(): readonly string[] {
  const [, commit, epoch] =
    /^([0-9a-f]{40}) (\d+)$/m.exec(readFileSync(join(root, 'scripts/source-commit'), 'utf8')) ?? [];
  return commit === undefined || epoch === undefined ? [] : [commit.slice(0, LENGTH), epoch];
}
