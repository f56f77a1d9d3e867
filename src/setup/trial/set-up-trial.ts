import { KeyError } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { PREFIX, TRIAL_ALIAS } from '../../server/plugin-options.ts';
import { diskOf, type Surroundings } from '../../server/surroundings.ts';
import { applySteps, takeBack } from '../apply.ts';
import { goBack, type StepBack } from '../go-back.ts';
import { lookAtSteps } from '../look-at-steps.ts';
import { refused } from '../refused.ts';
import { startServer, stopServer } from '../restart.ts';
import { serverCommand } from '../starter.ts';
import type { PlannedStep, Step } from '../step.ts';
import type { Survey } from '../survey.ts';
import { reloadUnits } from '../systemd.ts';
import { freePort, startTrialKms, stopTrialKms } from './trial-kms.ts';
import { type Trial, trialSteps } from './trial-steps.ts';

const RESTART = { verb: 'restart' } as const;

export interface TrialPlan {
  readonly trial: Trial;
  readonly planned: readonly PlannedStep[];
}

/** @throws KeyError SETUP_REFUSED */
export async function planTrial(
  { configuration, site }: Survey,
  parts: Omit<Trial, 'site' | 'port'>,
  keysInDatadir: number,
  surroundings: Surroundings,
): Promise<TrialPlan> {
  if (keysInDatadir > 0) {
    throw refused(
      `the data directory ${configuration.datadir} holds ${keysInDatadir} key files: this server has data under other keys, which a trial would not have`,
      'set the server up with its master key: mariadb-aws-kms init --master-key alias/NAME --region REGION',
    );
  }
  const isSetUp = configuration.masterKeyId === TRIAL_ALIAS;
  const known = isSetUp ? Number(URL.parse(configuration.endpointUrl)?.port) : 0;
  const trial: Trial = { ...parts, site, port: known > 0 ? known : await freePort() };
  return { trial, planned: await lookAtSteps(trialSteps(trial), surroundings.files.keyDirectory) };
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
      await reloadUnits(starter, surroundings, signal);
      return changed.length === 0 ? 'what was written was removed' : `${changed.join(', ')} stays, as it was changed`;
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
