import type { ChainStep } from './chain-log.ts';
import { explainContainer } from './container.ts';
import { CredentialFailure, sentence } from './failure.ts';
import { explainInstanceMetadata } from './instance.ts';
import { wordsOfProcess } from './process-words.ts';
import { notThere, readProfiles } from './profiles.ts';
import { isFileError, isNetworkText, isProviderError } from './sdk-error.ts';
import { sourceName } from './source-name.ts';
import { stsFailure, unreadableToken } from './web-identity.ts';

export function explainProfile(
  step: ChainStep,
  cause: Error | undefined,
  environment: NodeJS.ProcessEnv,
): CredentialFailure | undefined | Promise<CredentialFailure | undefined> {
  const source = sourceName(step, environment);
  if (cause !== undefined && !isProviderError(cause)) {
    return isFileError(cause) ? unreadableToken(source, cause) : stsFailure(source, cause);
  }
  if (step.detail === 'Ec2InstanceMetadata') return explainInstanceMetadata(environment);
  if (step.detail === 'EcsContainer' || step.detail === 'http') return explainContainer(step, cause, environment);
  const text = step.messages[0] ?? cause?.message ?? '';
  const unresolved = /^Could not resolve credentials using profile: \[(.*)\]/.exec(text)?.[1];
  if (unresolved !== undefined) {
    if (unresolved === 'default' && !environment['AWS_PROFILE']) return undefined;
    return notThere(unresolved, environment);
  }
  if (step.detail === 'process') return explainProcess(source, text, environment);
  if (step.detail === 'login') return explainLogin(source, text);
  if (step.detail === 'sso') return explainSso(source, text);
  if (/multi-factor/.test(text)) {
    return new CredentialFailure('MfaRequired', `${source} asks for a multi-factor code (mfa_serial)`);
  }
  return new CredentialFailure('ProfileUnusable', `${source}: ${sentence(text)}`);
}

async function explainProcess(
  source: string,
  text: string,
  environment: NodeJS.ProcessEnv,
): Promise<CredentialFailure> {
  const problem = /credential_process (returned [\w ]+|did not return Version 1)/.exec(text)?.[1];
  if (problem !== undefined) return new CredentialFailure('CredentialProcessFailed', `${source} ${problem}`);
  const profiles = await readProfiles(environment);
  const commands = Object.values(profiles).flatMap((profile) => profile?.['credential_process'] ?? []);
  const said = commands.map((command) => wordsOfProcess(command, text)).find((words) => words !== '');
  return new CredentialFailure('CredentialProcessFailed', `${source} failed${said === undefined ? '' : `: ${said}`}`);
}

function explainLogin(source: string, text: string): CredentialFailure {
  const said = sentence(text.replace(/,? *(?:and|please)? *(?:please )?re-?authenticate.*/i, ''));
  if (isNetworkText(said)) return new CredentialFailure('CredentialServiceUnreachable', `${source}, sign-in: ${said}`);
  return new CredentialFailure('LoginSessionUnusable', `${source}: ${said}`);
}

function explainSso(source: string, text: string): CredentialFailure {
  const said = sentence(text.replace(/ To refresh this SSO session run .*/, ''));
  // Refused by the portal, or by the SDK for an incomplete profile or session.
  const isRefused = /^(?:Forbidden|ResourceNotFound|InvalidRequest)Exception|^Profile |^Conflicting |^Sso session/.test(
    said,
  );
  if (!isRefused && /SSO|[Tt]oken/.test(said) && /expired|invalid|not found|Unauthorized|not present/.test(said)) {
    return new CredentialFailure('SsoSessionExpired', `${source}: ${said}`);
  }
  if (isNetworkText(said)) return new CredentialFailure('CredentialServiceUnreachable', `${source}, SSO: ${said}`);
  return new CredentialFailure(isRefused ? 'SsoRefused' : 'CredentialServiceTrouble', `${source}, SSO: ${said}`);
}
