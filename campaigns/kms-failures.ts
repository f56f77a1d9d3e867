/**
 * Injects every fault of KMS at every moment at which a server calls it, and records the server's behaviour and
 * messages.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMMAND, PATH, pluginOptions, ScratchServer, TEST_CREDENTIALS } from '../harness/scratch-server.ts';
import { type Action, brokenPromises, type Cell, type Moment, makeData, runEach, Trial } from '../harness/trial.ts';
import type { FaultRule } from '../src/dev-kms/index.ts';
import { FailingKms } from './failing-kms.ts';

export const REQUEST_TIMEOUT_MS = 1000;
/** Servers at work at the same time: those that wait for a deadline of 30 s, and one for the rest. */
const AT_ONCE = 8;
export const MOMENTS: readonly Moment[] = ['start', 'create', 'rotate', 'rotateAll', 'rewrap'];

export interface Failure {
  readonly what: string;
  /** The fault is retried until the deadline: its statements run at the same time, to save time. */
  readonly lasts: boolean;
  /** For a new key the answer looks right: the key that KMS never made is in use until the next start. */
  readonly unseenWithNewKeys?: true;
  /** Default: all moments. */
  readonly moments?: readonly Moment[];
  /** Seconds; longer than for other faults, to outlast this one. */
  readonly startTimeoutS?: number;
  readonly begin: (kms: FailingKms, moment: Moment) => void | Promise<void>;
}

function faults(what: string, lasts: boolean, ...rules: readonly FaultRule[]): Failure {
  return { what, lasts, begin: (kms) => kms.fail(...rules) };
}

function error(name: string, status: number, message: string, count?: number): FaultRule {
  return { kind: 'error', name, status, message, count };
}

const THROTTLING = ['ThrottlingException', 400, 'You have exceeded the rate at which you may call KMS.'] as const;

export const FAILURES: readonly Failure[] = [
  { what: 'refuses connections', lasts: true, begin: (kms) => kms.refuseConnections() },
  faults('takes connections and never answers', true, { kind: 'hang' }),
  faults('answers later than request_timeout', true, { kind: 'latency', ms: 3 * REQUEST_TIMEOUT_MS }),
  faults('throttles all the time', true, error(...THROTTLING)),
  faults('has internal errors (status 500)', true, error('KMSInternalException', 500, '')),
  faults('is a proxy that sends HTML (status 502)', true, { kind: 'garbage' }),
  faults('sends half an answer and hangs up', true, { kind: 'half' }),
  faults('is slow, within request_timeout', false, { kind: 'latency', ms: REQUEST_TIMEOUT_MS / 4 }),
  faults('throttles for a moment', false, error(...THROTTLING, 3)),
  faults('denies access', false, error('AccessDeniedException', 400, 'the identity is not authorized')),
  {
    what: 'has its master key disabled',
    lasts: false,
    begin: (kms, moment) =>
      moment === 'start' || moment === 'rewrap' ? kms.disableMasterKey() : kms.disableMasterKeyWhenGenerated(),
  },
  faults('answers Decrypt with the KeyId of another master key', false, { operation: 'Decrypt', kind: 'wrong-key-id' }),
  {
    what: 'answers Decrypt with the plaintext of another data key',
    lasts: false,
    unseenWithNewKeys: true,
    moments: ['start', 'create', 'rotate', 'rotateAll'],
    begin: (kms) => kms.fail({ operation: 'Decrypt', kind: 'wrong-plaintext' }),
  },
  {
    ...faults('answers ReEncrypt with the wrapped key of another data key', false, {
      operation: 'ReEncrypt',
      kind: 'wrong-plaintext',
    }),
    moments: ['rewrap'],
  },
  {
    what: 'throttles for a minute, then is well',
    lasts: true,
    startTimeoutS: 90,
    begin: (kms) => {
      kms.fail(error(...THROTTLING));
      setTimeout(() => kms.fail(), 60_000).unref();
    },
  },
];

export function momentsOf({ moments = MOMENTS }: Failure): readonly Moment[] {
  return moments;
}

/** The command as an operator runs it; rejects with its first error. */
async function rewrap(server: ScratchServer, kms: FailingKms): Promise<void> {
  const optionFile = join(server.directory, 'rewrap.cnf');
  const options = [
    `datadir = ${server.datadir}`,
    `aws_key_management_endpoint_url = ${kms.url}`,
    `aws_key_management_request_timeout = ${REQUEST_TIMEOUT_MS}`,
  ];
  writeFileSync(optionFile, `[mariadbd]\n${options.join('\n')}\n`);
  const places = ['--backup', join(server.directory, 'before'), '--audit-log', join(server.directory, 'audit.log')];
  const args = [`--defaults-file=${optionFile}`, '--to', kms.nextKeyArn, ...places];
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  execFile(COMMAND, ['rewrap', ...args], { env, encoding: 'utf8' }, (failed, _, stderr) => {
    if (failed === null) resolve();
    else reject(new Error(/^mariadb-aws-kms: error: (.*)$/m.exec(stderr)?.[1] ?? failed.message));
  });
  await promise;
}

export interface FailureReport {
  readonly failure: Failure;
  readonly cells: readonly Cell[];
  /** The error of the next start, without the fault. */
  readonly nextStartError: string;
}

/** @param directory an empty one; @param template an initialised data directory */
export async function runFailures(
  directory: string,
  template: string,
  failures: readonly Failure[] = FAILURES,
): Promise<FailureReport[]> {
  const used = join(directory, 'used');
  mkdirSync(used);
  const kms = await FailingKms.start(join(used, 'kms.json'));
  const server = new ScratchServer({ directory: used, options: pluginOptions(kms.url) });
  try {
    server.copyDatabase(template);
    await makeData(server);
    return await runEach(failures, AT_ONCE, async (failure, index) => {
      const place = join(directory, String(index));
      mkdirSync(place);
      return await runFailure(failure, place, server.datadir, kms);
    });
  } finally {
    await server.kill();
    await kms.close();
  }
}

/** The broken promises of one fault, a line each. */
export function brokenByKms({ failure, cells, nextStartError }: FailureReport): string[] {
  const broken = brokenPromises(cells);
  if (failure.unseenWithNewKeys !== true && nextStartError !== '')
    broken.push(`the next start failed: ${nextStartError}`);
  return broken.map((text) => `when KMS ${failure.what}: ${text}`);
}

async function runFailure(
  failure: Failure,
  directory: string,
  datadir: string,
  origin: FailingKms,
): Promise<FailureReport> {
  const kms = await FailingKms.start(join(directory, 'kms.json'), origin);
  const options = pluginOptions(kms.url, {
    aws_key_management_request_timeout: REQUEST_TIMEOUT_MS,
    aws_key_management_watch_interval: 0,
  });
  const server = new ScratchServer({ directory, options });
  const trial = new Trial({
    server,
    keyDirectory: server.datadir,
    startTimeoutS: failure.startTimeoutS,
    rewrap: () => rewrap(server, kms),
    begin: async (moment) => {
      await failure.begin(kms, moment);
      return () => kms.recover();
    },
  });
  try {
    server.copyDatabase(datadir);
    const moments = momentsOf(failure);
    const cells: Cell[] = [];
    if (moments.includes('start')) cells.push(await trial.start());
    else await server.start();
    const [first, ...more] = moments.filter((moment): moment is Action => moment !== 'start');
    if (first !== undefined)
      cells.push(
        ...(await trial.actions(
          failure.lasts ? [[first, ...more]] : [[first], ...more.map((each) => [each] as const)],
        )),
      );
    return { failure, cells, nextStartError: await trial.next() };
  } finally {
    await server.kill();
    await kms.close();
  }
}
