import { basename, dirname, join } from 'node:path';
import { type DataLook, type FoundUse, keyNeedOf } from '../../data/look.ts';
import { putInPlace, syncDirectory, temporaryPath, writeNew } from '../../disk/files.ts';
import { KeyError, toKeyError } from '../../errors.ts';
import type { Configuration } from '../../server/configuration.ts';
import { lookAtServerData } from '../../server/data-locations.ts';
import { TRIAL_ALIAS } from '../../server/plugin-options.ts';
import { diskOf, type Surroundings } from '../../server/surroundings.ts';
import { removeStep } from '../apply.ts';
import { encryptedTablespaces } from '../ask-server.ts';
import { textIfThere } from '../look-at-steps.ts';
import { keyFilesIn } from '../obstacles.ts';
import { OPTION_FILE } from '../paths.ts';
import { refused } from '../refused.ts';
import { startServer, stopServer } from '../restart.ts';
import type { Site } from '../server-steps.ts';
import { serverCommand } from '../starter.ts';
import type { Step } from '../step.ts';
import { isDirectory, type Survey } from '../survey.ts';
import { must, stopTrialKms } from './trial-kms.ts';
import { type Trial, trialFiles, trialSteps } from './trial-steps.ts';

const NAMED = 5;
const DECRYPT = `mariadb -Ne 'SELECT CONCAT("ALTER TABLE \`", table_schema, "\`.\`", table_name, "\` ENCRYPTED=NO;") FROM information_schema.tables WHERE create_options LIKE "%ENCRYPTED%=YES%"' | mariadb`;

export interface TrialRemoval {
  /** Files and blocks that go, the option file last. */
  readonly steps: readonly Step[];
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
  const written = trialSteps(placeholder(site)).filter(
    ({ kind, path }) => kind !== 'directory' && !isInside(path, site),
  );
  const there: Step[] = [];
  for (const step of written) {
    const text = await textIfThere(step.path, fs);
    if (text?.includes(site.paths.trialDirectory) === true) there.push(step);
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
 * The server is asked as well as its files: a new tablespace does not tell in its file that it is encrypted before its
 * pages have been written.
 */
async function assertUnused(
  configuration: Configuration,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const tablespaces = await encryptedTablespaces(surroundings, configuration.request.defaults, signal);
  if (typeof tablespaces === 'string') {
    throw refused(
      `the server does not tell which tables are encrypted under the trial's keys: ${tablespaces}`,
      'start the server, and let root log in through its socket; the client reads a password from /root/.my.cnf',
    );
  }
  if (tablespaces.length > 0) throw inUse(tablespaces);
  assertFilesPlain(await lookAtServerData(configuration, surroundings.files.data, signal));
}

function assertFilesPlain(look: DataLook): void {
  const need = keyNeedOf(look);
  if (need === 'none') return;
  const [unseen] = look.unseen;
  if (need === 'needs' || unseen === undefined) throw inUse(look.uses.map(describeUse));
  throw refused(
    `${unseen.path} cannot be looked at (${unseen.reason}), and may be encrypted under the trial's keys`,
    'bring it back or make it readable, then run this again',
  );
}

function inUse(all: readonly string[]): KeyError {
  const more = all.length > NAMED ? ` and ${all.length - NAMED} more` : '';
  return refused(
    `data is encrypted under the trial's keys and could not be read without them: ${all.slice(0, NAMED).join(', ')}${more}`,
    `decrypt the tables (one: ALTER TABLE d.t ENCRYPTED=NO), then run this again. All of them: ${DECRYPT}`,
  );
}

function describeUse({ id, file, files }: FoundUse): string {
  const others = files > 1 ? ` and ${files - 1} more ${files === 2 ? 'file' : 'files'}` : '';
  return `${file}${others} (key ${id})`;
}

/**
 * Takes the trial away and restarts the server without it. Keys and state are moved aside, never deleted.
 * @param tell prints what is done next
 * @throws KeyError SETUP_FAILED; if the server does not start without the trial, its files are put back
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
  const command = serverCommand('start', site.starter, configuration, surroundings);
  const isServers = steps.length > 0 && command !== undefined;
  const start = async (hasPlugin: boolean): Promise<void> =>
    await startServer(configuration, { verb: 'start', starter: site.starter, hasPlugin }, surroundings, signal);
  if (isServers) {
    tell('stopping the server');
    await stopServer(configuration, site.starter, surroundings, signal);
    try {
      // Nobody can encrypt any more, and every page has been written.
      assertFilesPlain(await lookAtServerData(configuration, surroundings.files.data, signal));
    } catch (thrown) {
      await start(true);
      throw thrown;
    }
  }
  const before = new Map<string, string>();
  for (const { path } of steps) before.set(path, (await textIfThere(path, fs)) ?? '');
  for (const step of steps) await removeStep(step, disk);
  const reload = async (): Promise<void> => {
    if (site.starter === 'systemd') await must(surroundings, ['systemctl', 'daemon-reload'], signal);
  };
  await reload();
  if (isServers) {
    tell(`starting the server without the trial: ${command.join(' ')}`);
    try {
      await start(false);
    } catch (thrown) {
      for (const [path, text] of before) {
        const like = { uid: 0, gid: 0, mode: 0o644 };
        await putInPlace(fs, path, temporaryPath(dirname(path), surroundings.random), Buffer.from(text), like);
      }
      await reload();
      const { message, hint } = toKeyError(thrown);
      const text = `${message}; the files of the trial were put back`;
      throw new KeyError('SETUP_FAILED', text, { hint: `${hint}; then: ${command.join(' ')}`, cause: thrown });
    }
  }
  await stopTrialKms(site, configuration.account, surroundings, signal);
  if (directory === undefined) return;
  // Somebody may have added options of their own.
  for (const [path, text] of before)
    if (basename(path) === OPTION_FILE) await writeNew(fs, join(directory, OPTION_FILE), Buffer.from(text));
  await fs.rename(directory, movedTo);
  await syncDirectory(fs, dirname(movedTo));
}
