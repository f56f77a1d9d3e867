import { systemErrorCode } from '../../errors.ts';
import type { ChainStep } from './chain-log.ts';
import { CredentialFailure, sentence } from './failure.ts';
import { isFileError, isNetworkText, pathOf } from './sdk-error.ts';

export function explainWebIdentity(
  step: ChainStep,
  cause: Error | undefined,
  environment: NodeJS.ProcessEnv,
): CredentialFailure | undefined {
  const source = 'web identity';
  if (cause === undefined) {
    const names = ['AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_ROLE_ARN'];
    const [present, ...more] = names.filter((name) => environment[name]);
    if (present === undefined) return undefined;
    if (more.length > 0)
      return new CredentialFailure('ProviderError', `${source}: ${sentence(step.messages[0] ?? '')}`);
    // A role alone is often left over from another tool; a token file is there for this only.
    if (present === 'AWS_ROLE_ARN') return undefined;
    return new CredentialFailure('WebIdentityIncomplete', `${present} is set and AWS_ROLE_ARN is not`);
  }
  return isFileError(cause) ? unreadableToken(source, cause) : stsFailure(source, cause);
}

export function unreadableToken(source: string, cause: Error): CredentialFailure {
  const problem = `cannot read the token file ${pathOf(cause)}(${systemErrorCode(cause) ?? cause.name})`;
  return new CredentialFailure('WebIdentityTokenUnreadable', `${source}: ${problem}`);
}

/** A call of STS. Network errors get names of their own: what KMS needs in that case would mislead. */
export function stsFailure(source: string, cause: Error): CredentialFailure {
  const metadata = '$metadata' in cause ? cause.$metadata : undefined;
  const code = systemErrorCode(cause) ?? cause.name;
  const said = `${source}, STS: ${sentence(cause.message) || code}`;
  if (cause instanceof AggregateError || isNetworkText(code)) {
    return new CredentialFailure('CredentialServiceUnreachable', said, metadata);
  }
  const status = statusOf(metadata);
  if (status >= 500 || status === 429 || /^Throttling|^RequestLimit/.test(cause.name) || cause instanceof SyntaxError) {
    return new CredentialFailure('CredentialServiceTrouble', `${source}, STS: ${cause.name}`, metadata);
  }
  return new CredentialFailure(cause.name === 'Error' ? 'CredentialServiceTrouble' : cause.name, said, metadata);
}

function statusOf(metadata: unknown): number {
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return 0;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : 0;
}
