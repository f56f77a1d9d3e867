import { constants } from 'node:fs';
import { dirname } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { readWhole } from '../disk/files.ts';
import { MOST_TEXT_BYTES } from '../disk/small-file.ts';
import { type KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { TRIAL_ALIAS } from '../server/plugin-options.ts';
import { BEGIN, blockIn, END } from '../server/service/init-defaults.ts';
import { refused } from './refused.ts';
import type { DirectoryStep, FileStep, PlannedStep, State, Step, TextStep } from './step.ts';

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

/** Returns the file or block of a step as it is on disk; undefined: it is not there. @throws KeyError SETUP_REFUSED */
export async function asFound(step: TextStep, fs: FileSystem): Promise<TextStep | undefined> {
  const whole = await textIfThere(step.path, fs);
  const text = whole !== undefined && step.kind === 'block' ? blockIn(whole) : whole;
  if (text === undefined) return undefined;
  const { uid, gid, mode } = await fs.stat(step.path);
  return { ...step, text, mode: mode & 0o777, owner: { name: `user ${uid}`, uid, gid } };
}

async function stateOf(step: Step, fs: FileSystem): Promise<State> {
  if (step.kind === 'directory') return await stateOfDirectory(step, fs);
  const found = await asFound(step, fs);
  if (found === undefined) return 'new';
  if (step.kind === 'file' && step.isKept === true) return stateOfKept(step, found);
  if (found.text === step.text) return 'there';
  if (found.text.includes(TRIAL_ALIAS) && !step.text.includes(TRIAL_ALIAS)) {
    throw refused(`a trial is set up here (${step.path})`, 'end it first: mariadb-aws-kms init --remove-trial');
  }
  throw differs(step, difference(found.text, step.text));
}

function differs({ kind, path }: TextStep, how: string): KeyError {
  const same = 'nothing is overwritten: run init with the values that are there';
  if (kind === 'block') {
    return refused(
      `the block of init in ${path} differs: ${how}`,
      `${same}, or edit the block; without its lines from "${BEGIN}" to "${END}" init writes it anew`,
    );
  }
  return refused(
    `${path} is there and differs: ${how}`,
    `${same}, or change the file by hand and run mariadb-aws-kms doctor, or move it away: mv ${path} ${path}.old`,
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

/** A file that stays whatever it holds must be its reader's alone, as a file of credentials. */
function stateOfKept({ path, owner, mode }: FileStep, { owner: is, mode: bits }: TextStep): State {
  const canRead =
    (is.uid === owner.uid && (bits & 0o400) !== 0) || (is.gid === owner.gid && (bits & 0o040) !== 0) || owner.uid === 0;
  if (canRead && (bits & 0o007) === 0) return 'there';
  throw refused(
    `${path} is there with mode 0${bits.toString(8)}, owner ${is.uid}, expected mode 0${mode.toString(8)}, owner ${owner.uid} (${owner.name})`,
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
