import { constants } from 'node:fs';
import { dirname } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { readWhole } from '../disk/files.ts';
import { MOST_TEXT_BYTES } from '../disk/small-file.ts';
import { systemErrorCode, toKeyError } from '../errors.ts';
import { TRIAL_ALIAS } from '../server/plugin-options.ts';
import { blockIn } from '../server/service/init-defaults.ts';
import { refused } from './refused.ts';
import type { DirectoryStep, PlannedStep, State, Step } from './step.ts';

/** Options of this project may be repeated in a message; other lines may hold secrets. */
const SHOWN = /^(?:aws_key_management\w*|plugin_load_add) *=|^Environment=AWS_SHARED_CREDENTIALS_FILE=/;

/**
 * Tells for each step whether it is so already. Nothing is written.
 * @throws KeyError SETUP_REFUSED for an existing file that differs, another owner or mode, a missing parent directory
 */
export async function lookAtSteps(steps: readonly Step[], fs: FileSystem): Promise<readonly PlannedStep[]> {
  const planned: PlannedStep[] = [];
  const coming = new Set<string>();
  for (const step of steps) {
    const state = await stateOf(step, fs);
    const parent = dirname(step.path);
    if (state === 'new' && !coming.has(parent)) await requireDirectory(parent, step.path, fs);
    if (state === 'new' && step.kind === 'directory') coming.add(step.path);
    planned.push({ step, state });
  }
  return planned;
}

/** Reads a text. @returns undefined if there is no file @throws KeyError SETUP_REFUSED */
export async function textIfThere(path: string, fs: FileSystem): Promise<string | undefined> {
  try {
    return (await readWhole(fs, path, MOST_TEXT_BYTES)).toString('utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw refused(`${path} cannot be read: ${toKeyError(error).message}`, `look at it: ls -l ${path}`, error);
  }
}

async function stateOf(step: Step, fs: FileSystem): Promise<State> {
  if (step.kind === 'directory') return await stateOfDirectory(step, fs);
  const text = await textIfThere(step.path, fs);
  if (text === undefined) return 'new';
  if (step.kind === 'file' && step.isKept === true) return 'there';
  const found = step.kind === 'block' ? blockIn(text) : text;
  if (found === undefined) return 'new';
  if (found === step.text) return 'there';
  if (found.includes(TRIAL_ALIAS) && !step.text.includes(TRIAL_ALIAS)) {
    throw refused(`a trial is set up here (${step.path})`, 'end it first: mariadb-aws-kms init --remove-trial');
  }
  throw refused(
    `${step.path} is there and differs: ${difference(found, step.text)}`,
    `nothing is overwritten: give init the values of that file, or change it by hand and run mariadb-aws-kms doctor, or move it away: mv ${step.path} ${step.path}.old`,
  );
}

async function stateOfDirectory({ path, owner, mode }: DirectoryStep, fs: FileSystem): Promise<State> {
  const facts = await directoryFacts(path, fs);
  if (facts === undefined) return 'new';
  const [uid, bits] = [facts.uid, facts.mode & 0o777];
  if (uid === owner.uid && (bits & ~mode) === 0) return 'there';
  const found = `mode 0${bits.toString(8)}, owner ${uid}`;
  throw refused(
    `${path} is there with ${found}, expected mode 0${mode.toString(8)}, owner ${owner.uid} (${owner.name})`,
    `chown ${owner.name}: ${path} && chmod 0${mode.toString(8)} ${path}`,
  );
}

async function directoryFacts(
  path: string,
  fs: FileSystem,
): Promise<{ readonly uid: number; readonly mode: number } | undefined> {
  try {
    const directory = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    return await directory.stat().finally(() => directory.close());
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw refused(`${path} cannot be used: ${toKeyError(error).message}`, `look at it: ls -ld ${path}`, error);
  }
}

async function requireDirectory(parent: string, path: string, fs: FileSystem): Promise<void> {
  if ((await directoryFacts(parent, fs)) !== undefined) return;
  throw refused(`there is no directory ${parent} for ${path}`, `install -d -m 0755 ${parent}`);
}

function isAbsent(error: unknown): boolean {
  return systemErrorCode(error) === 'ENOENT';
}

/** Describes the first difference. */
function difference(found: string, wanted: string): string {
  const [is, would] = [found.split('\n'), wanted.split('\n')];
  const at = is.findIndex((line, index) => line !== would[index]);
  const line = at < 0 ? is.length : at;
  const shown = (text: string | undefined): string => {
    if (text === undefined) return 'nothing';
    return text.startsWith('#') || SHOWN.test(text) ? `"${text}"` : 'another text';
  };
  return `line ${line + 1} is ${shown(is[line])}, and would be ${shown(would[line])}`;
}
