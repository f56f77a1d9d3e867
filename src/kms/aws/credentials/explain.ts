import { isProxyRefusal, PROXY_REFUSED } from '../../failures/proxy-refusal.ts';
import { type ChainLog, type ChainStep, EXHAUSTED } from './chain-log.ts';
import type { ConfiguredLink } from './configured.ts';
import { explainContainer } from './container.ts';
import { CredentialFailure, sentence } from './failure.ts';
import { explainInstanceMetadata } from './instance.ts';
import { explainProfile } from './profile.ts';
import { unreadableSharedFile } from './shared-files.ts';
import { sourceName } from './source-name.ts';
import { explainWebIdentity } from './web-identity.ts';

/** @param error the error of the chain @param steps the links that were tried; the last one is where it ended */
export async function explainCredentialFailure(
  error: Error,
  steps: readonly ChainStep[],
  environment: NodeJS.ProcessEnv,
): Promise<CredentialFailure> {
  // The proxy refused its password, whichever source the request was for.
  if (isProxyRefusal(error)) return new CredentialFailure(PROXY_REFUSED, sentence(error.message));
  // The first configured source that failed is the intended one.
  for (const step of steps) {
    // After an error that permits it, the chain continues, and ends with an error of its own.
    const cause = step === steps.at(-1) && !isExhausted(error) ? error : undefined;
    const failure = await explainStep(step, cause, environment);
    if (failure !== undefined) return failure;
  }
  // This also applies when instance metadata is switched off, which leaves no link in the log.
  return (await unreadableSharedFile(environment)) ?? new CredentialFailure('CredentialsProviderError', EXHAUSTED);
}

/** Explains why the configured link gave nothing, when another one gave an identity that nobody chose. */
export async function explainOtherIdentity(
  meant: ConfiguredLink,
  { steps, entered }: ChainLog,
  environment: NodeJS.ProcessEnv,
): Promise<CredentialFailure> {
  const failure = await failureOf(meant, steps, environment);
  const other = entered === undefined ? 'what gave some' : sourceName(steps.at(-1), environment);
  return new CredentialFailure(failure.name, `${failure.message}; ${other} is another identity and is not used`);
}

async function failureOf(
  meant: ConfiguredLink,
  steps: readonly ChainStep[],
  environment: NodeJS.ProcessEnv,
): Promise<CredentialFailure> {
  if (meant === 'environment') {
    return new CredentialFailure('PartialEnvironment', 'the variables of the environment gave no credentials');
  }
  const step = steps.find(({ link }) => link === meant) ?? { link: meant, detail: '', messages: [] };
  return (
    (await explainStep(step, undefined, environment)) ??
    new CredentialFailure('ProfileUnusable', `${sourceName(step, environment)} gave no credentials`)
  );
}

function explainStep(
  step: ChainStep,
  cause: Error | undefined,
  environment: NodeJS.ProcessEnv,
): CredentialFailure | undefined | Promise<CredentialFailure | undefined> {
  switch (step.link) {
    case 'profile':
      return explainProfile(step, cause, environment);
    case 'web identity':
      return explainWebIdentity(cause, environment);
    case 'container':
      return explainContainer(step, cause, environment);
    case 'instance metadata':
      // Instance metadata is tried on every machine. A user with a shared file meant to use that instead.
      return unreadableSharedFile(environment).then((failure) => failure ?? explainInstanceMetadata(environment));
  }
}

function isExhausted(error: Error): boolean {
  if (error.message === EXHAUSTED) return true;
  return 'tryNextLink' in error && error.tryNextLink === true;
}
