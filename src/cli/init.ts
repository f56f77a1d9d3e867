import { join } from 'node:path';
import { Command } from 'commander';
import type { Facts } from '../audit-log/entry.ts';
import { DEFAULT_REGION, TEST_ACCESS_KEY } from '../dev-kms/index.ts';
import { ALL_CHECKS, INSTALLATION_CHECKS } from '../doctor/checks.ts';
import { examine, type Limits } from '../doctor/doctor.ts';
import { exitCode } from '../doctor/format.ts';
import { KeyError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { startDeadline } from '../kms/retry.ts';
import { passedOn } from '../server/service/server-environment.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { applySteps } from '../setup/apply.ts';
import { chooseSetup } from '../setup/choice.ts';
import { surveyKeys } from '../setup/key-places.ts';
import { assertKeysReach } from '../setup/keys-reach.ts';
import { lookAtSteps, textIfThere } from '../setup/look-at-steps.ts';
import { nextCommand } from '../setup/next-command.ts';
import { keyFilesIn, obstacleIn } from '../setup/obstacles.ts';
import { OPTION_FILE, SETUP_PATHS, type SetupPaths } from '../setup/paths.ts';
import { readerOf, serverSteps } from '../setup/server-steps.ts';
import { setupPolicy } from '../setup/setup-policy.ts';
import { exists, serverCommand } from '../setup/starter.ts';
import { type Survey, surveyServer } from '../setup/survey.ts';
import { reloadUnits } from '../setup/systemd.ts';
import { planRemoval, removeTrial } from '../setup/trial/remove-trial.ts';
import { planTrial, setUpTrial } from '../setup/trial/set-up-trial.ts';
import { type AuditLogOptions, audited, type Recorded, withAuditLog } from './audited.ts';
import { lockInit } from './init-lock.ts';
import { askForFlags, type InitOptions } from './init-questions.ts';
import { InitReport } from './init-report.ts';
import { withOptionFiles } from './option-files.ts';
import { ownProgram } from './own-program.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface Work extends Survey {
  readonly options: InitOptions & AuditLogOptions;
  readonly surroundings: Surroundings;
  readonly paths: SetupPaths;
  readonly report: InitReport;
  readonly signal: AbortSignal;
  readonly io: CliIo;
}

/** Two restarts at most, each of which may take minutes. */
const ALL_MS = 900_000;
/** A slow answer of a busy machine is no reason to refuse or to take back what was written. */
const LIMITS: Limits = { checkMs: 60_000, allMs: 240_000 };

/**
 * `mariadb-aws-kms init`.
 * @param program starts this program once more
 * @throws KeyError BAD_OPTION, SETUP_REFUSED, SETUP_FAILED
 */
export function initCommand(
  io: CliIo,
  surroundings: () => Surroundings = systemSurroundings,
  paths: SetupPaths = SETUP_PATHS,
  program: () => readonly string[] = ownProgram,
): Command {
  return withAuditLog(withOptionFiles(new Command('init')))
    .description('set up an installed server: write its option file and what belongs to it, and run doctor')
    .option('--master-key <key>', 'KMS key id, ARN or alias/name of the master key')
    .option('--region <region>', 'Region of the master key (default: the one in its ARN)')
    .option('--keyfile-dir <directory>', `directory of the key files (default: ${paths.keyDirectory})`)
    .option(
      '--credentials <role|file>',
      'role (of the instance, task or pod), or the path of a credentials file',
      'role',
    )
    .option('--endpoint-url <url>', "URL of another KMS endpoint (default: the Region's public one)")
    .option('--separate-agent', "keep credentials and keys from the server's user, in an agent with a user of its own")
    .option('--embedded-kms', 'set up a trial without AWS and restart the server; it protects nothing')
    .option('--remove-trial', 'take the trial away again and restart the server; key files are moved aside')
    .option('--dry-run', 'print the plan, and change nothing')
    .option('--json', 'print the result as JSON: { ok, dryRun, steps, removed, notes, policy, findings, next }')
    .addHelpText(
      'after',
      '\nExamples:\n  mariadb-aws-kms init --master-key alias/mariadb-encryption --region eu-central-1\n  mariadb-aws-kms init --embedded-kms',
    )
    .action(async (options: InitOptions & AuditLogOptions, command: Command) => {
      refuseMixture(command);
      const outside = withoutOwnVariables(surroundings());
      if (outside.uid !== 0) {
        throw new KeyError('BAD_OPTION', 'init writes below /etc and /var/lib: only root may', {
          hint: `sudo mariadb-aws-kms init${options.embeddedKms === true ? ' --embedded-kms' : ' …'}`,
        });
      }
      const report = new InitReport(io, { isJson: options.json ?? false, isDryRun: options.dryRun ?? false });
      const release = options.dryRun === true ? undefined : await lockInit(paths.lock);
      const deadline = startDeadline(outside.clock, ALL_MS);
      try {
        const configuration = await readServer(options, { variables: {} }, outside);
        const survey = await surveyServer(configuration, outside, paths, deadline.signal);
        const work = { ...survey, options, surroundings: outside, paths, report, signal: deadline.signal, io };
        if (options.removeTrial === true) await endTrial(work);
        else {
          await refuseObstacles(work);
          if (options.embeddedKms === true) await beginTrial(work, program());
          else await setUp(work);
        }
      } catch (thrown) {
        if (!(thrown instanceof Error) || thrown.name !== 'AbortError') throw thrown;
        throw new KeyError('SETUP_FAILED', 'a program that init runs did not answer in time', {
          hint: 'run the same command again: what is done stays as it is',
          cause: thrown,
        });
      } finally {
        deadline.cancel();
        await release?.();
      }
    });
}

function refuseMixture(command: Command): void {
  const given = (name: string): boolean => command.getOptionValueSource(name) === 'cli';
  const modes = ['embeddedKms', 'removeTrial'].filter(given);
  const others = ['masterKey', 'region', 'keyfileDir', 'credentials', 'endpointUrl', 'separateAgent'].filter(given);
  if (modes.length === 0 || modes.length + others.length === 1) return;
  const names = [...modes, ...others].map((name) => `--${name.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`);
  throw new KeyError('BAD_OPTION', `${names.join(' and ')}: only one of them at a time`, {
    hint: 'a trial has its own master key, directory and credentials',
  });
}

/** The server's variables count, not those of the administrator's shell. */
function withoutOwnVariables(surroundings: Surroundings): Surroundings {
  for (const environment of [surroundings.environment, process.env])
    for (const name of Object.keys(passedOn(environment))) delete environment[name];
  return surroundings;
}

async function refuseObstacles(work: Work): Promise<void> {
  const { configuration, server, site, surroundings, options } = work;
  // Without the separate agent's socket, nothing can be said about the agent yet.
  const checks = INSTALLATION_CHECKS.filter(({ id }) => id !== 'agent' || options.separateAgent !== true);
  const findings = await examine(configuration.request, surroundings, checks, LIMITS);
  const text = await textIfThere(join(site.optionDirectory, OPTION_FILE), surroundings.files.keyDirectory);
  const obstacle = obstacleIn(configuration, findings, server, text !== undefined);
  if (obstacle !== undefined) throw obstacle;
}

async function setUp(work: Work): Promise<void> {
  const { configuration, site, surroundings, paths, report, signal, io, options } = work;
  const { files } = surroundings;
  const keysInDatadir = await keyFilesIn(configuration.datadir, files);
  const flags = await askForFlags(options, io, { paths, keysInDatadir });
  const keys = await surveyKeys(configuration, flags.keyfileDir, paths, surroundings, signal);
  const choice = chooseSetup(flags, configuration, keys, paths);
  if (choice.isSeparateAgent) assertAgentCanRun(work);
  assertKeysReach(
    {
      choice,
      datadir: configuration.datadir,
      reader: readerOf(choice, site),
      group: configuration.account.name,
      stop: serverCommand('stop', site.starter, configuration, surroundings)?.join(' '),
    },
    keys,
  );
  const planned = await lookAtSteps(serverSteps(choice, site), files.keyDirectory);
  const policy = setupPolicy(choice.masterKey, choice.region);
  const agent = choice.isSeparateAgent ? 'separate' : undefined;
  report.plan({ steps: planned, removed: [], notes: choice.notes, policy, agent });
  if (options.dryRun === true) {
    report.end([], 'the same command without --dry-run');
    return;
  }
  const changes = planned.filter(({ state }) => state !== 'there').map(({ step }) => step.path);
  const { masterKey, region } = choice;
  const apply = async () => {
    await applySteps(planned, diskOf(surroundings), () => undefined);
    await reloadUnits(site.starter, surroundings, signal);
  };
  const { statusOf } =
    changes.length === 0 ? UNCHANGED : await recorded(work, { set: 'server', masterKey, region, changes }, apply);
  // A separate agent listens once it is started, which comes next.
  const isSilent = choice.isSeparateAgent && !(await exists(paths.agentSocket, surroundings));
  const findings = await examineAll(work, isSilent ? ALL_CHECKS.filter(({ id }) => id !== 'agent') : ALL_CHECKS);
  report.end(findings, await nextCommand({ choice, findings, survey: work }, surroundings));
  io.exit(statusOf(exitCode(findings)));
}

function assertAgentCanRun({ site }: Work): void {
  if (site.starter === 'systemd' && site.agent !== undefined) return;
  const reason = site.agent === undefined ? 'the user mariadb-aws-kms is missing' : 'no systemd runs here';
  const hint =
    site.agent === undefined
      ? 'the package makes it: apt-get install ./mariadb-plugin-aws-key-management_*.deb'
      : 'start it yourself, and set aws_key_management_agent = unix:/PATH by hand: mariadb-aws-kms agent --help';
  throw new KeyError('SETUP_REFUSED', `--separate-agent: ${reason}; nothing was changed`, { hint });
}

async function beginTrial(work: Work, program: readonly string[]): Promise<void> {
  const { configuration, site, surroundings, report, signal, io, options } = work;
  const { datadir } = configuration;
  const keys = await surveyKeys(configuration, undefined, work.paths, surroundings, signal);
  const keysInDatadir = keys.need === 'none' && keys.configured !== datadir ? 0 : keys.in(datadir).versions;
  const access = { accessKeyId: TEST_ACCESS_KEY.accessKeyId, secretAccessKey: TEST_ACCESS_KEY.secretAccessKey };
  const encrypted = keys.isTrial ? [] : keys.in(work.paths.trialDirectory).lacking;
  const parts = { region: DEFAULT_REGION, access, program };
  const plan = await planTrial(work, parts, { keysInDatadir, encrypted }, surroundings);
  report.plan({ steps: plan.planned, removed: [], notes: [], policy: undefined });
  report.warn('TRIAL, PROTECTS NOTHING: the master key lies unprotected on this machine');
  const restart = serverCommand('restart', site.starter, configuration, surroundings);
  if (options.dryRun === true) {
    const then =
      restart === undefined ? 'starts the KMS of the trial' : `starts the KMS of the trial, then: ${restart.join(' ')}`;
    report.end([], `the same command without --dry-run, which also ${then}`);
    return;
  }
  const tell = (line: string): void => report.tell(line);
  const changes = plan.planned.filter(({ state }) => state !== 'there').map(({ step }) => step.path);
  const { value: isRestarted, statusOf } = await recorded(work, { set: 'trial', changes }, () =>
    setUpTrial(work, plan, { examine: () => examineAll(work), tell }, surroundings, signal),
  );
  if (isRestarted) report.tell('the server runs, and the plugin is active');
  if (site.starter !== 'systemd') {
    report.note('after a reboot the KMS of the trial does not start by itself: mariadb-aws-kms init --embedded-kms');
  }
  const file = join(site.paths.trialDirectory, 'credentials');
  const next =
    restart === undefined
      ? `restart the server with this in its environment: AWS_SHARED_CREDENTIALS_FILE=${file}`
      : 'mariadb -e "CREATE DATABASE trial; CREATE TABLE trial.t (i INT) ENCRYPTED=YES"';
  report.end([], next);
  io.exit(statusOf(0));
}

async function endTrial(work: Work): Promise<void> {
  const { site, configuration, surroundings, report, signal, io, options } = work;
  const removal = await planRemoval(work, surroundings, signal);
  const { steps, directory, movedTo } = removal;
  const removed = steps.map(({ path }) => path);
  if (removed.length === 0 && directory === undefined) {
    report.plan({
      steps: [],
      removed: [],
      notes: ['no trial is set up here: there is nothing to remove'],
      policy: undefined,
    });
    report.end([], 'nothing');
    return;
  }
  const notes =
    directory === undefined
      ? []
      : [
          `${directory} is moved to ${movedTo}, with the keys in it: delete that directory when no backup from the time of the trial is needed any more`,
        ];
  const copies = await keyFilesIn(configuration.datadir, surroundings.files);
  if (copies > 0 && !configuration.isKeyfileDirDatadir) {
    const aside = `${movedTo}.from-datadir`;
    notes.push(
      `${configuration.datadir} holds ${copies} key files, which neither the trial nor the server reads; to move them aside: install -d -m 0700 ${aside} && mv ${configuration.datadir}/aws-kms-key.* ${aside}/`,
    );
  }
  report.plan({ steps: [], removed, notes, policy: undefined });
  if (options.dryRun === true) {
    report.end([], 'the same command without --dry-run');
    return;
  }
  const { statusOf } = await recorded(work, { remove: 'trial', removed, directory, movedTo }, () =>
    removeTrial(work, removal, (line) => report.tell(line), surroundings, signal),
  );
  const isRestarted = serverCommand('restart', site.starter, configuration, surroundings) !== undefined;
  report.end([], isRestarted ? 'mariadb-aws-kms init --master-key alias/NAME --region REGION' : 'restart the server');
  io.exit(statusOf(0));
}

const UNCHANGED: Pick<Recorded<unknown>, 'statusOf'> = { statusOf: (status) => status };

async function recorded<T>(
  { io, surroundings: outside, options }: Work,
  about: Facts,
  work: () => Promise<T>,
): Promise<Recorded<T>> {
  return await audited({ io, outside, options }, 'init', about, async () => {
    return { outcome: 'done', facts: {}, value: await work() };
  });
}

async function examineAll({ configuration, surroundings }: Work, checks = ALL_CHECKS): Promise<readonly Finding[]> {
  return await examine({ ...configuration.request, deep: true }, surroundings, checks, LIMITS);
}
