import type { FoundUse } from '../../data/look.ts';
import { KeyError } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { PREFIX, TRIAL_ALIAS } from '../../server/plugin-options.ts';
import { diskOf, type Surroundings } from '../../server/surroundings.ts';
import { applySteps, takeBack } from '../apply.ts';
import { goBack, type StepBack } from '../go-back.ts';
import { listUses } from '../keys-reach.ts';
import { asFound, lookAtSteps } from '../look-at-steps.ts';
import { refused } from '../refused.ts';
import { startServer, stopServer } from '../restart.ts';
import type { Site } from '../server-steps.ts';
import { serverCommand } from '../starter.ts';
import type { PlannedStep, Step } from '../step.ts';
import type { Survey } from '../survey.ts';
import { reloadUnits } from '../systemd.ts';
import { freePort, startTrialKms, stopTrialKms } from './trial-kms.ts';
import { TRIAL, type Trial, trialSteps } from './trial-steps.ts';

const RESTART = { verb: 'restart' } as const;

export interface TrialPlan {
  readonly trial: Trial;
  readonly planned: readonly PlannedStep[];
}

/** Data of the server that a trial would make unreadable. */
export interface DataBefore {
  readonly keysInDatadir: number;
  /** Files that are encrypted under keys of before. */
  readonly encrypted: readonly FoundUse[];
}

/** @throws KeyError SETUP_REFUSED */
export async function planTrial(
  { configuration, site }: Survey,
  parts: Omit<Trial, 'site' | 'port'>,
  { keysInDatadir, encrypted }: DataBefore,
  surroundings: Surroundings,
): Promise<TrialPlan> {
  await assertNotSetUp(site, parts, surroundings);
  if (keysInDatadir > 0) {
    throw refused(
      `the data directory ${configuration.datadir} holds ${keysInDatadir} key files: this server has data under other keys, which a trial would not have`,
      'set the server up with its master key: mariadb-aws-kms init --master-key alias/NAME --region REGION',
    );
  }
  if (encrypted.length > 0) {
    throw refused(
      `this server has data under other keys, which a trial would not have: ${listUses(encrypted)}`,
      'a trial is for a server without encrypted data, on another machine or in a container',
    );
  }
  const isSetUp = configuration.masterKeyId === TRIAL_ALIAS;
  const known = isSetUp ? Number(URL.parse(configuration.endpointUrl)?.port) : 0;
  const trial: Trial = { ...parts, site, port: known > 0 ? known : await freePort() };
  return { trial, planned: await lookAtSteps(trialSteps(trial), surroundings.files.keyDirectory) };
}

/** @throws KeyError SETUP_REFUSED where a file of the set-up is there and is none of a trial */
async function assertNotSetUp(
  site: Site,
  parts: Omit<Trial, 'site' | 'port'>,
  { files }: Pick<Surroundings, 'files'>,
): Promise<void> {
  const steps = trialSteps({ ...parts, site, port: 0 });
  // The option file, which is the last, says most.
  for (const step of steps.toReversed()) {
    const found = step.kind === 'directory' ? undefined : await asFound(step, files.keyDirectory);
    if (found === undefined || found.text.includes(TRIAL)) continue;
    throw refused(
      `this server is set up for AWS already (${step.path})`,
      'a trial is for a server that is not set up, on another machine or in a container; how this one is: mariadb-aws-kms doctor',
    );
  }
}

export interface TrialWork {
  readonly examine: () => Promise<readonly Finding[]>;
  /** Prints what is done next. */
  readonly tell: (line: string) => void;
}

/**
 * Carries out the plan, restarts the server unless it has the plugin and nothing changed, and checks that the plugin is
 * active. When the server would not start, or does not, everything written is taken back.
 * @returns true if the server was restarted
 * @throws KeyError SETUP_FAILED
 */
export async function setUpTrial(
  survey: Survey,
  { trial, planned }: TrialPlan,
  { examine, tell }: TrialWork,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<boolean> {
  const { configuration, site, server } = survey;
  const disk = diskOf(surroundings);
  const done: Step[] = [];
  let isStopped = false;
  try {
    await applySteps(planned, disk, (step) => done.push(step));
    if (await startTrialKms(trial, configuration.account, surroundings, signal)) {
      tell(`started the KMS of the trial on 127.0.0.1:${trial.port}`);
    }
    if (done.length > 0) await reloadUnits(site.starter, surroundings, signal);
    const command = serverCommand('restart', site.starter, configuration, surroundings);
    const hasPlugin = server.answers === 'yes' && server.encryptionPlugins.includes(PREFIX);
    if (command === undefined || (done.length === 0 && hasPlugin)) return false;
    const failed = (await examine()).find(({ status }) => status === 'failure');
    if (failed !== undefined) {
      const found = `${failed.check}: ${failed.found}`;
      throw new KeyError('SETUP_FAILED', `the server would not start: ${found}`, { hint: failed.fix });
    }
    tell(`restarting the server: ${command.join(' ')}`);
    isStopped = true;
    await startServer(configuration, { ...RESTART, starter: site.starter, hasPlugin: true }, surroundings, signal);
    return true;
  } catch (thrown) {
    // A trial that was set up before is not this command's to take back.
    if (done.length === 0) throw thrown;
    throw await goBack(thrown, wayBack({ survey, done, isStopped }, surroundings));
  }
}

/** Removes those that are empty. @returns the outermost that stays, with what the trial's KMS has made */
async function removeDirectories(done: readonly Step[], { files }: Surroundings): Promise<string | undefined> {
  let left: string | undefined;
  for (const { kind, path } of done.toReversed()) {
    if (kind !== 'directory') continue;
    await files.keyDirectory.rmdir(path).catch(() => {
      left = path;
    });
  }
  return left;
}

interface Halfway {
  readonly survey: Survey;
  readonly done: readonly Step[];
  readonly isStopped: boolean;
}

function wayBack(
  { survey: { configuration, site, server }, done, isStopped }: Halfway,
  surroundings: Surroundings,
): readonly StepBack[] {
  const { starter } = site;
  return [
    // A unit that has lost its file can be stopped, but not disabled.
    async (signal) => {
      await stopTrialKms(site, configuration.account, surroundings, signal);
      return '';
    },
    async (signal) => {
      const changed = await takeBack(done, diskOf(surroundings));
      const left = await removeDirectories(done, surroundings);
      await reloadUnits(starter, surroundings, signal);
      if (changed.length > 0) return `${changed.join(', ')} stays, as it was changed`;
      const but = left === undefined ? '' : `, but for ${left}, which mariadb-aws-kms init --remove-trial moves aside`;
      return `what was written was removed${but}`;
    },
    async (signal) => {
      if (!isStopped) return '';
      if (server.answers === 'no' && configuration.service.running === undefined) {
        await stopServer(configuration, starter, surroundings, signal);
        return 'the server is stopped, as it was before';
      }
      await startServer(configuration, { ...RESTART, starter, hasPlugin: false }, surroundings, signal);
      return 'the server runs as before';
    },
  ];
}
