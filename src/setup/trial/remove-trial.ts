import { basename, dirname, join } from 'node:path';
import { putInPlace, syncDirectory, temporaryPath } from '../../disk/files.ts';
import { KeyError } from '../../errors.ts';
import { TRIAL_ALIAS } from '../../server/plugin-options.ts';
import { diskOf, type Surroundings } from '../../server/surroundings.ts';
import { applySteps, takeBack } from '../apply.ts';
import { goBack } from '../go-back.ts';
import { asFound, textIfThere } from '../look-at-steps.ts';
import { keyFilesIn } from '../obstacles.ts';
import { OPTION_FILE } from '../paths.ts';
import { startServer, stopServer } from '../restart.ts';
import { dropInPath, type Site } from '../server-steps.ts';
import { serverCommand } from '../starter.ts';
import type { PlannedStep, TextStep } from '../step.ts';
import { isDirectory, type Survey } from '../survey.ts';
import { reloadUnits } from '../systemd.ts';
import { stopTrialKms } from './trial-kms.ts';
import { type Trial, trialFiles, trialSteps, trialUnitPath } from './trial-steps.ts';
import { assertFilesPlain, assertUnused } from './unused.ts';

export interface TrialRemoval {
  /** Files and blocks that go, as they are on disk; the option file is the last. */
  readonly steps: readonly TextStep[];
  /** The directory of the trial, and its name afterwards; undefined: there is none. */
  readonly directory: string | undefined;
  readonly movedTo: string;
}

/**
 * Finds the parts of a trial. Empty `steps` and no directory: there is no trial.
 * @throws KeyError SETUP_REFUSED while data is encrypted under its keys, or could not be looked at
 */
export async function planRemoval(
  { configuration, site }: Survey,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<TrialRemoval> {
  const { files, clock } = surroundings;
  const fs = files.keyDirectory;
  const optionFile = await textIfThere(join(site.optionDirectory, OPTION_FILE), fs);
  const isServers = optionFile?.includes(TRIAL_ALIAS) === true;
  const written = trialSteps(placeholder(site)).filter((step) => step.kind !== 'directory');
  const there: TextStep[] = [];
  for (const step of written) {
    if (isInside(step.path, site)) continue;
    const found = await asFound(step, fs);
    if (found?.text.includes(site.paths.trialDirectory) === true) there.push(found);
  }
  const keys = await keyFilesIn(trialFiles(site).keys, files);
  // Without a key nothing can be encrypted.
  if (isServers && keys > 0) await assertUnused(configuration, surroundings, signal);
  const time = new Date(clock.wallMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return {
    steps: there,
    directory: (await isDirectory(site.paths.trialDirectory, surroundings)) ? site.paths.trialDirectory : undefined,
    movedTo: `${site.paths.trialDirectory}.removed-${time}`,
  };
}

/** Paths alone matter for a removal. */
function placeholder(site: Site): Trial {
  return { site, port: 0, region: '', access: { accessKeyId: '', secretAccessKey: '' }, program: [] };
}

function isInside(path: string, { paths }: Site): boolean {
  return path.startsWith(`${paths.trialDirectory}/`);
}

/**
 * Takes the trial away and restarts the server without it. Keys and state are moved aside, never deleted.
 * @param tell prints what is done next
 * @throws KeyError SETUP_REFUSED, SETUP_FAILED; then the files are put back and the server has been started with them
 */
export async function removeTrial(
  { configuration, site }: Survey,
  { steps, directory, movedTo }: TrialRemoval,
  tell: (line: string) => void,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const disk = diskOf(surroundings);
  const { fileSystem: fs } = disk;
  const { starter } = site;
  const isUnit = ({ path }: TextStep): boolean => path === trialUnitPath(site);
  const units = steps.filter(isUnit);
  const servers = steps.filter((step) => !isUnit(step));
  const command = serverCommand('start', starter, configuration, surroundings);
  const isServers = servers.length > 0 && command !== undefined;
  const start = async (hasPlugin: boolean, until: AbortSignal): Promise<void> =>
    await startServer(configuration, { verb: 'start', starter, hasPlugin }, surroundings, until);
  const gone: TextStep[] = [];
  const tellRemoved = ({ path }: TextStep): void => tell(`removed  ${path}`);
  try {
    if (isServers) {
      tell('stopping the server');
      await stopServer(configuration, starter, surroundings, signal);
    }
    // Nobody can encrypt any more, and every page has been written, unless nothing here stops the server.
    if (servers.length > 0) await assertFilesPlain(configuration, surroundings, signal);
    const [changed] = await takeBack(servers, disk, (step) => {
      gone.push(step);
      tellRemoved(step);
    });
    if (changed !== undefined) throw new KeyError('SETUP_FAILED', `${changed} has just been changed by somebody else`);
    await reloadUnits(starter, surroundings, signal);
    if (isServers) {
      tell(`starting the server without the trial: ${command.join(' ')}`);
      await start(false, signal);
    }
  } catch (thrown) {
    throw await goBack(thrown, [
      async (until) => {
        await applySteps(gone.toReversed().map(asNew), disk, () => undefined);
        await reloadUnits(starter, surroundings, until);
        return gone.length === 0 ? '' : 'the files of the trial were put back';
      },
      async (until) => {
        if (!isServers) return '';
        await start(true, until);
        return 'the server runs as before';
      },
    ]);
  }
  // A unit that has lost its file can be stopped, but not disabled.
  await stopTrialKms(site, configuration.account, surroundings, signal);
  await takeBack(units, disk, tellRemoved);
  // Only an empty directory can be removed, and without a drop-in nothing needs it.
  if (servers.some(({ path }) => path === dropInPath(site))) await fs.rmdir(dirname(dropInPath(site))).catch(() => {});
  await reloadUnits(starter, surroundings, signal);
  if (directory === undefined) return;
  for (const { path, text } of gone) {
    // Somebody may have added options of their own.
    if (basename(path) !== OPTION_FILE) continue;
    const temporary = temporaryPath(directory, surroundings.random);
    await putInPlace(fs, join(directory, OPTION_FILE), temporary, Buffer.from(text));
  }
  await fs.rename(directory, movedTo);
  tell(`moved    ${directory} to ${movedTo}`);
  await syncDirectory(fs, dirname(movedTo));
}

function asNew(step: TextStep): PlannedStep {
  return { step, state: 'new' };
}
