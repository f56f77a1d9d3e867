import { isProxyRefusal, PROXY_REFUSED } from '../proxy-gate.ts';
import { type ChainLog, type ChainStep, EXHAUSTED } from './chain-log.ts';
import type { ConfiguredLink } from './configured.ts';
import { explainContainer } from './container.ts';
import { CredentialFailure, sentence } from './failure.ts';
import { explainInstanceMetadata } from './instance.ts';
import { explainProfile } from './profile.ts';
import { unreadableSharedFile } from './shared-files.ts';
import { sourceName } from './source-name.ts';
import { explainWebIdentity } from './web-identity.ts';

/**
 * @param error what the chain threw
 * @param steps the links that were tried; the last one is where it ended
 */
export async function explainCredentialFailure(
  error: Error,
  steps: readonly ChainStep[],
  environment: NodeJS.ProcessEnv,
): Promise<CredentialFailure> {
  // Whichever source it was for: another password for the proxy is what helps.
  if (isProxyRefusal(error)) return new CredentialFailure(PROXY_REFUSED, sentence(error.message));
  // The first source that was set up and failed is the one that was meant to be used.
  for (const step of steps) {
    // The chain goes on after an error that says so, and ends with one of its own.
    const cause = step === steps.at(-1) && !isExhausted(error) ? error : undefined;
    const failure = await explainStep(step, cause, environment);
    if (failure !== undefined) return failure;
  }
  // Also when instance metadata is switched off, and then no link of its own.
  return (await unreadableSharedFile(environment)) ?? new CredentialFailure('CredentialsProviderError', EXHAUSTED);
}

/** Why the link that was meant gave nothing, when another gave an identity that nobody chose. */
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
      // The last resort, tried on every machine: whoever has a shared file meant to use that.
      return unreadableSharedFile(environment).then((failure) => failure ?? explainInstanceMetadata(environment));
  }
}

function isExhausted(error: Error): boolean {
  if (error.message === EXHAUSTED) return true;
  return 'tryNextLink' in error && error.tryNextLink === true;
}
