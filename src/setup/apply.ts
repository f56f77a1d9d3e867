import { constants } from 'node:fs';
import { dirname } from 'node:path';
import type { Disk, FileSystem } from '../disk/file-system.ts';
import { putInPlace, syncDirectory, temporaryPath, writeNew } from '../disk/files.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { withoutBlock } from '../server/service/init-defaults.ts';
import { asFound, textIfThere } from './look-at-steps.ts';
import type { BlockStep, DirectoryStep, FileStep, PlannedStep, Step, TextStep } from './step.ts';

/**
 * Carries out the new steps, durably. A file that has come into being meanwhile is not replaced.
 * @returns the steps carried out, also those before a failure, by `onDone`
 * @throws KeyError SETUP_FAILED
 */
export async function applySteps(
  planned: readonly PlannedStep[],
  disk: Disk,
  onDone: (step: Step) => void,
): Promise<void> {
  for (const { step, state } of planned) {
    if (state === 'there') continue;
    try {
      if (step.kind === 'directory') await makeDirectory(step, disk.fileSystem);
      else if (step.kind === 'file') await makeFile(step, disk);
      else await addBlock(step, disk);
      await syncDirectory(disk.fileSystem, dirname(step.path));
    } catch (cause) {
      throw failed(step.path, 'written', cause);
    }
    onDone(step);
  }
}

/**
 * Removes files and blocks that are as these steps have them; changed ones and directories stay.
 * @param onDone called for each step that was removed
 * @returns the paths that stayed because they were changed
 * @throws KeyError SETUP_FAILED, SETUP_REFUSED
 */
export async function takeBack<S extends Step>(
  steps: readonly S[],
  disk: Disk,
  onDone: (step: S) => void = () => undefined,
): Promise<readonly string[]> {
  const changed: string[] = [];
  for (const step of steps.toReversed()) {
    if (step.kind === 'directory') continue;
    const found = await asFound(step, disk.fileSystem);
    if (found === undefined) continue;
    if (found.text === step.text) {
      await remove(step, disk);
      onDone(step);
    } else changed.push(step.path);
  }
  return changed;
}

async function remove(step: TextStep, disk: Disk): Promise<void> {
  const { fileSystem: fs, random } = disk;
  try {
    const text = step.kind === 'block' ? await textIfThere(step.path, fs) : undefined;
    const rest = text === undefined ? '' : withoutBlock(text);
    if (rest === '') await fs.unlink(step.path);
    else {
      const like = await fs.stat(step.path);
      await putInPlace(fs, step.path, temporaryPath(dirname(step.path), random), Buffer.from(rest), like);
    }
    await syncDirectory(fs, dirname(step.path));
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw failed(step.path, 'removed', cause);
  }
}

async function makeDirectory({ path, owner, mode }: DirectoryStep, fs: FileSystem): Promise<void> {
  await fs.mkdir(path, 0o700);
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  const directory = await fs.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    // The mode first: afterwards the directory may be another user's.
    await directory.chmod(mode);
    await directory.chown(owner.uid, owner.gid);
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function makeFile({ path, text, owner, mode }: FileStep, { fileSystem: fs, random }: Disk): Promise<void> {
  const temporary = temporaryPath(dirname(path), random);
  try {
    await writeNew(fs, temporary, Buffer.from(text), { uid: owner.uid, gid: owner.gid, mode });
    // Unlike a rename, this fails where a file of that name exists.
    await fs.link(temporary, path);
  } finally {
    await fs.unlink(temporary).catch(() => undefined);
  }
}

async function addBlock(step: BlockStep, disk: Disk): Promise<void> {
  const { fileSystem: fs, random } = disk;
  const { path, text } = step;
  const before = await textIfThere(path, fs);
  if (before === undefined) {
    await makeFile({ ...step, kind: 'file' }, disk);
    return;
  }
  const like = await fs.stat(path);
  const gap = before === '' || before.endsWith('\n') ? '' : '\n';
  const after = Buffer.from(`${before}${gap}${text}`);
  await putInPlace(fs, path, temporaryPath(dirname(path), random), after, like);
}

function failed(path: string, what: string, cause: unknown): KeyError {
  if (cause instanceof KeyError && cause.code === 'SETUP_REFUSED') return cause;
  const reason = cause instanceof KeyError ? cause.message : (systemErrorCode(cause) ?? String(cause));
  return new KeyError('SETUP_FAILED', `${path} was not ${what}: ${reason}`, {
    hint: `look at it: ls -ld ${path} ${dirname(path)}; then run the same command again: what is done stays as it is`,
    cause,
  });
}
