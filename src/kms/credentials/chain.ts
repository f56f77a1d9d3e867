import { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { kill } from 'node:process';
import { type DefaultProviderInit, defaultProvider } from '@aws-sdk/credential-provider-node';
import type { Secrets } from '../../secrets.ts';
import { ChainLog } from './chain-log.ts';
import { configuredLink } from './configured.ts';
import { explainCredentialFailure, explainOtherIdentity } from './explain.ts';
import { CredentialFailure } from './failure.ts';
import { malformed } from './malformed.ts';
import { secretsOfSharedFiles } from './shared-files.ts';
import { sourceName } from './source-name.ts';

export interface CredentialOptions {
  /** Where the SDK finds its variables: the environment of the process. Only read to explain failures. */
  readonly environment: NodeJS.ProcessEnv;
  /** How the clients of STS and of the SSO portal connect. */
  readonly clientConfig: DefaultProviderInit['clientConfig'];
  /** A run of the whole chain takes no longer. */
  readonly timeoutMs: number;
  /** Learns what the chain gives, and what it may have used. */
  readonly secrets: Secrets;
}

type Chain = ReturnType<typeof defaultProvider>;
type Identity = Awaited<ReturnType<Chain>>;

/**
 * The SDK's default credential chain, with failures that name their source, and without the identity of another source than
 * the one that is set up.
 * The provider rejects with CredentialFailure only.
 */
export function credentialChain(
  init: DefaultProviderInit,
  { environment, clientConfig, timeoutMs, secrets }: CredentialOptions,
): (properties?: Parameters<Chain>[0]) => Promise<Identity> {
  const log = new ChainLog();
  const current = (): NodeJS.ProcessEnv => withChoices(environment, init);
  const newChain = (): Chain =>
    defaultProvider({
      ...init,
      clientConfig,
      logger: log,
      // Files are read again by every run.
      ignoreCache: true,
      // A request that anybody can be tricked into forwarding is not a way to get credentials.
      ec2MetadataV1Disabled: true,
      // Retries are ours: they need the deadline, the clock and the log.
      maxRetries: 0,
    });
  let chain = newChain();
  // Requests that waited for the same run failed by the same error.
  const explained = new WeakMap<object, Promise<CredentialFailure>>();
  const explain = (thrown: unknown): Promise<CredentialFailure> => {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const known = explained.get(error) ?? explainCredentialFailure(error, log.steps, current());
    explained.set(error, known);
    return known;
  };
  return async (properties) => {
    const surroundings = current();
    const tooLate = Promise.withResolvers<never>();
    const children = watchChildren();
    // The SDK waits for ever for a credential process, and makes everyone who comes later wait with it.
    const timer = setTimeout(() => {
      children.kill();
      const source = sourceName(log.steps.at(-1), surroundings);
      tooLate.reject(new CredentialFailure('CredentialsTimeout', `${source} did not answer in ${timeoutMs / 1000} s`));
    }, timeoutMs);
    try {
      const meant = await configuredLink(surroundings);
      const runsBefore = log.runs;
      const identity = await Promise.race([chain(properties), tooLate.promise]);
      secrets.add(identity.secretAccessKey, identity.sessionToken);
      const given = log.steps.at(-1)?.link;
      if (log.runs > runsBefore && meant !== 'environment' && given !== undefined && given !== meant) {
        // It remembers what it gave.
        chain = newChain();
        throw await explainOtherIdentity(meant, log.steps, surroundings);
      }
      const problem = malformed(
        identity,
        meant === 'environment' ? undefined : sourceName(log.steps.at(-1), surroundings),
      );
      if (problem !== undefined) {
        chain = newChain();
        throw problem;
      }
      return given === 'instance metadata' ? ofInstance(identity) : identity;
    } catch (thrown) {
      // Keys that a role is taken with.
      secrets.add(...(await secretsOfSharedFiles(surroundings)));
      throw thrown instanceof CredentialFailure ? thrown : await explain(thrown);
    } finally {
      clearTimeout(timer);
      children.forget();
    }
  };
}

/** The SDK marks what each source gave, and leaves this one out. */
function ofInstance(identity: Identity): Identity {
  const marks = '$source' in identity ? identity.$source : {};
  return Object.assign({}, identity, { $source: Object.assign({}, marks, { CREDENTIALS_IMDS: '0' }) });
}

const SHELL_COMMAND = '-c';

/** The SDK hands out no handle of a credential process: Node.js tells of every child that is started. */
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

/** What is chosen in code takes the place of the variable that says the same. */
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

/** The shell and what it runs: a command that is left behind keeps the pipe open that the SDK reads. */
function killTree(pid: number): void {
  for (const child of childrenOf(pid)) killTree(child);
  try {
    kill(pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

/** None where the kernel does not tell (CONFIG_PROC_CHILDREN). */
function childrenOf(pid: number): number[] {
  try {
    return (readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').match(/\d+/g) ?? []).map(Number);
  } catch {
    return [];
  }
}
