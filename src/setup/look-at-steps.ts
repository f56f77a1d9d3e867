import { constants } from 'node:fs';
import { dirname } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { readWhole } from '../disk/files.ts';
import { MOST_TEXT_BYTES } from '../disk/small-file.ts';
import { type KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { TRIAL_ALIAS } from '../server/plugin-options.ts';
import { BEGIN, blockIn, END } from '../server/service/init-defaults.ts';
import { difference, ownSettings } from './difference.ts';
import { refused } from './refused.ts';
import {
  type DirectoryStep,
  type FileStep,
  type PlannedStep,
  ROOT,
  type State,
  type Step,
  type TextStep,
} from './step.ts';

/**
 * Tells for each step whether it is so already. A kept file has its own owner and mode. Nothing is written.
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
    const isKept = step.kind === 'file' && step.isKept === true && state === 'there';
    planned.push({ step: (isKept ? await asFound(step, fs) : undefined) ?? step, state });
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
  const name = [step.owner, ROOT].find((owner) => owner.uid === uid)?.name ?? `user ${uid}`;
  return { ...step, text, mode: mode & 0o777, owner: { name, uid, gid } };
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
  throw differs(step, found.text);
}

function differs({ kind, path, text }: TextStep, found: string): KeyError {
  const how = difference(found, text);
  const same = 'nothing is overwritten: run init with the values that are there';
  if (kind === 'block') {
    return refused(
      `the block of init in ${path} differs: ${how}`,
      `${same}, or edit the block; without its lines from "${BEGIN}" to "${END}" init writes it anew`,
    );
  }
  const own = ownSettings(found, text);
  const carry = own.length === 0 ? '' : ` and carry your own lines over afterwards (${own.join(', ')})`;
  return refused(
    `${path} is there and differs: ${how}`,
    `${same}, or change the file by hand and run mariadb-aws-kms doctor, or move it away${carry}: mv ${path} ${path}.old`,
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
