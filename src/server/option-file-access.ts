import { dirname, join, resolve } from 'node:path';
import { systemErrorCode } from '../errors.ts';
import { failure, type Report } from '../finding.ts';
import { describeMode, READ } from './account.ts';
import { findObstacle } from './obstacle.ts';
import type { DoctorRequest } from './request.ts';
import type { Account, Surroundings } from './surroundings.ts';

const WORLD_WRITABLE = 0o002;
const MAX_FILES = 1000;

/**
 * Reports option files that the server skips: silently if it may not read them, with a log line if everybody may write
 * them.
 */
export async function optionFileReports(
  request: DoctorRequest,
  account: Account,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<readonly Report[]> {
  const reports: Report[] = [];
  for (const path of await optionFiles(request, account, surroundings, signal)) {
    const { files } = surroundings;
    const facts = await files.stat(path);
    const obstacle = await findObstacle(files, account, path, READ);
    if (obstacle !== undefined) {
      const found = `${obstacle.found}: the server starts without the options in it`;
      // An option file may hold secrets, so the fix does not make it readable for everybody.
      reports.push(failure(found, obstacle.enter ?? `chgrp ${account.gid} ${path} && chmod g+r ${path}`));
    } else if (facts.isFile() && (facts.mode & WORLD_WRITABLE) !== 0) {
      const found = `everybody may write ${path} (${describeMode(facts)}): the server ignores the options in it`;
      reports.push(failure(found, `chmod o-w ${path}`));
    }
  }
  return reports;
}

/** Existing option files and those that they include. */
async function optionFiles(
  { defaults }: DoctorRequest,
  account: Account,
  { files, run }: Surroundings,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const named = defaults?.replace(/^--defaults-(?:extra-)?file=/, '');
  const isOnlyOne = defaults?.startsWith('--defaults-file=') === true;
  const standard = isOnlyOne ? [] : await standardFiles(account, run, signal);
  const waiting = [...standard, ...(named === undefined || named.startsWith('--') ? [] : [resolve(named)])];
  const found = new Set<string>();
  for (let path = waiting.shift(); path !== undefined && found.size < MAX_FILES; path = waiting.shift()) {
    signal.throwIfAborted();
    const text = found.has(path) ? undefined : await textOf(path);
    if (text === undefined) continue;
    found.add(path);
    for (const [, isDirectory, target = ''] of text.matchAll(/^\s*!include(dir)?\s+(.*?)\s*$/gm)) {
      const full = resolve(dirname(path), target);
      waiting.push(...(isDirectory === undefined ? [full] : await filesIn(full)));
    }
  }
  return [...found];

  async function textOf(path: string): Promise<string | undefined> {
    return await files.readFile(path).then(
      (bytes) => bytes.toString('utf8'),
      (error: unknown) => {
        if (/^(?:ENOENT|ENOTDIR|EISDIR)$/.test(systemErrorCode(error) ?? '')) return undefined;
        // The current user may not read it: the files that it includes stay unknown.
        return '';
      },
    );
  }

  async function filesIn(directory: string): Promise<readonly string[]> {
    const names = await files.keyDirectory.readdir(directory).catch(() => []);
    return names.filter((name) => /\.(?:cnf|ini)$/.test(name)).map((name) => join(directory, name));
  }
}

async function standardFiles(
  account: Account,
  run: Surroundings['run'],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const shown = await run('my_print_defaults', ['--help'], signal);
  const [, list = ''] = /following files in the given order:\n(.*)\n/.exec(shown?.stdout ?? '') ?? [];
  return list
    .split(' ')
    .map((path) => path.replace(/^~/, account.home))
    .filter((path) => path.startsWith('/'));
}
