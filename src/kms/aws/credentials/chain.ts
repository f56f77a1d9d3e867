import { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { kill } from 'node:process';
import { type DefaultProviderInit, defaultProvider } from '@aws-sdk/credential-provider-node';
import type { Clock } from '../../../clock.ts';
import type { Secrets } from '../../../secrets.ts';
import { ChainLog } from './chain-log.ts';
import { configuredLink } from './configured.ts';
import { explainCredentialFailure, explainOtherIdentity } from './explain.ts';
import { CredentialFailure } from './failure.ts';
import { malformed } from './malformed.ts';
import { secretsOfSharedFiles } from './shared-files.ts';
import { sourceName } from './source-name.ts';

export interface CredentialOptions {
  /** The variables that the SDK reads: the environment of the process. Only used to explain failures. */
  readonly environment: NodeJS.ProcessEnv;
  /** Settings for connecting to STS and the SSO portal. */
  readonly clientConfig: DefaultProviderInit['clientConfig'];
  /** Milliseconds for a run of the whole chain. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Collects credentials that the chain returns or may have used. */
  readonly secrets: Secrets;
}

type Chain = ReturnType<typeof defaultProvider>;
type Identity = Awaited<ReturnType<Chain>>;

/** Milliseconds before the expiry at which credentials are renewed, as in the SDK. */
const RENEW_BEFORE_MS = 300_000;

/**
 * The SDK's default credential chain, with failures that name their source, and without silently taking the identity of
 * another source than the configured one. Concurrent callers share one run and its failure. The provider rejects with
 * CredentialFailure only.
 */
export function credentialChain(
  init: DefaultProviderInit,
  options: CredentialOptions,
): (properties?: Parameters<Chain>[0]) => Promise<Identity> {
  let known: Identity | undefined;
  let running: Promise<Identity> | undefined;
  const renew = async (properties: Parameters<Chain>[0]): Promise<Identity> => {
    try {
      known = await goThrough(init, options, properties);
      return known;
    } finally {
      running = undefined;
    }
  };
  const renewed = (properties: Parameters<Chain>[0]): Promise<Identity> => {
    running ??= renew(properties);
    return running;
  };
  return async (properties) => {
    if (known === undefined || properties?.forceRefresh) return await renewed(properties);
    const leftMs = leftOf(known, options.clock);
    if (leftMs < 0) return await renewed(properties);
    // The old credentials are valid until they expire, so a failed renewal is ignored.
    if (leftMs < RENEW_BEFORE_MS) renewed(properties).catch(() => undefined);
    return known;
  };
}

function leftOf({ expiration }: Identity, clock: Clock): number {
  return expiration === undefined ? Number.POSITIVE_INFINITY : expiration.getTime() - clock.wallMs();
}

/** Runs a new chain: the SDK's chain caches its result, and does not tell which run it came from. */
async function goThrough(
  init: DefaultProviderInit,
  { environment, clientConfig, timeoutMs, clock, secrets }: CredentialOptions,
  properties: Parameters<Chain>[0],
): Promise<Identity> {
  const log = new ChainLog();
  const chain = defaultProvider({
    ...init,
    clientConfig,
    logger: log,
    // Every run reads the files again.
    ignoreCache: true,
    // IMDSv1 is disabled: programs can be tricked into forwarding its simple requests.
    ec2MetadataV1Disabled: true,
    // The caller retries: it knows the deadline, the clock and the log.
    maxRetries: 0,
  });
  const surroundings = withChoices(environment, init);
  const tooLate = Promise.withResolvers<never>();
  // The rejection may occur while nothing awaits it.
  tooLate.promise.catch(() => undefined);
  const inTime = async <T>(work: Promise<T>): Promise<T> => await Promise.race([work, tooLate.promise]);
  const children = watchChildren();
  // The SDK would wait for ever for a credential process, or for a read from a hanging file system.
  const stopTimer = clock.after(timeoutMs, () => {
    children.kill();
    const source = sourceName(log.steps.at(-1), surroundings);
    tooLate.reject(new CredentialFailure('CredentialsTimeout', `${source} did not answer in ${timeoutMs / 1000} s`));
  });
  try {
    const meant = await inTime(configuredLink(surroundings));
    const identity = await inTime(chain(properties));
    secrets.add(identity.secretAccessKey, identity.sessionToken);
    if (log.entered !== meant) throw await inTime(explainOtherIdentity(meant, log, surroundings));
    const source = meant === 'environment' ? undefined : sourceName(log.steps.at(-1), surroundings);
    const problem = malformed(identity, source);
    if (problem !== undefined) throw problem;
    return meant === 'instance metadata' ? ofInstance(identity) : identity;
  } catch (thrown) {
    // Keys that a role is assumed with.
    await inTime(secretsOfSharedFiles(surroundings).then((texts) => secrets.add(...texts)));
    if (thrown instanceof CredentialFailure) throw thrown;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    throw await inTime(explainCredentialFailure(error, log.steps, surroundings));
  } finally {
    stopTimer();
    children.forget();
  }
}

/** Adds the mark for instance metadata, which the SDK leaves out. */
function ofInstance(identity: Identity): Identity {
  const marks = '$source' in identity ? identity.$source : {};
  return Object.assign({}, identity, { $source: Object.assign({}, marks, { CREDENTIALS_IMDS: '0' }) });
}

const SHELL_COMMAND = '-c';

/** Records child processes: the SDK gives no handle of a credential process, but Node.js publishes every start. */
function watchChildren(): { kill(): void; forget(): void } {
  const children: ChildProcess[] = [];
  const started = (message: unknown): void => {
    if (typeof message !== 'object' || message === null || !('process' in message)) return;
    if (message.process instanceof ChildProcess) children.push(message.process);
  };
  subscribe('child_process', started);
  return {
    kill: () => {
      for (const { pid, spawnargs, exitCode, signalCode } of children) {
        const isRunning = exitCode === null && signalCode === null;
        if (pid !== undefined && isRunning && spawnargs[1] === SHELL_COMMAND) killTree(pid);
      }
    },
    forget: () => void unsubscribe('child_process', started),
  };
}

/** Returns the environment with settings chosen in code in place of the equivalent variables. */
function withChoices(
  environment: NodeJS.ProcessEnv,
  { profile, filepath, configFilepath }: DefaultProviderInit,
): NodeJS.ProcessEnv {
  return {
    ...environment,
    ...(profile === undefined ? {} : { AWS_PROFILE: profile }),
    ...(filepath === undefined ? {} : { AWS_SHARED_CREDENTIALS_FILE: filepath }),
    ...(configFilepath === undefined ? {} : { AWS_CONFIG_FILE: configFilepath }),
  };
}

/** Kills the shell and its children: a surviving command would keep the pipe open that the SDK reads. */
function killTree(pid: number): void {
  for (const child of childrenOf(pid)) killTree(child);
  try {
    kill(pid, 'SIGKILL');
  } catch {
    // The process has just ended.
  }
}

/** Empty if the kernel does not list children (CONFIG_PROC_CHILDREN). */
function childrenOf(pid: number): number[] {
  try {
    return (readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').match(/\d+/g) ?? []).map(Number);
  } catch {
    return [];
  }
}
