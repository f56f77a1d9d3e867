import { systemErrorCode } from '../../../errors.ts';
import { readMetadata } from '../../failures/answer-metadata.ts';
import { CredentialFailure, sentence } from './failure.ts';
import { isFileError, isNetworkText, pathOf } from './sdk-error.ts';

export function explainWebIdentity(
  cause: Error | undefined,
  environment: NodeJS.ProcessEnv,
): CredentialFailure | undefined {
  const source = 'web identity';
  if (cause === undefined) {
    // A role alone is often left over from another tool; a token file has no other use.
    if (!environment['AWS_WEB_IDENTITY_TOKEN_FILE'] || environment['AWS_ROLE_ARN']) return undefined;
    return new CredentialFailure('WebIdentityIncomplete', 'AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not');
  }
  return isFileError(cause) ? unreadableToken(source, cause) : stsFailure(source, cause);
}

export function unreadableToken(source: string, cause: Error): CredentialFailure {
  const problem = `cannot read the token file ${pathOf(cause)}(${systemErrorCode(cause) ?? cause.name})`;
  return new CredentialFailure('WebIdentityTokenUnreadable', `${source}: ${problem}`);
}

/** The failure of a call of STS. Network errors get names of their own: the hints for KMS would mislead. */
export function stsFailure(source: string, cause: Error): CredentialFailure {
  const metadata = '$metadata' in cause ? cause.$metadata : undefined;
  const code = systemErrorCode(cause) ?? cause.name;
  const said = `${source}, STS: ${sentence(cause.message) || code}`;
  if (cause instanceof AggregateError || isNetworkText(code)) {
    return new CredentialFailure('CredentialServiceUnreachable', said, metadata);
  }
  const { status, requestId } = readMetadata(metadata);
  // Every answer of STS has a request id.
  if (status !== 0 && requestId === '') {
    const problem = `${source}, STS: HTTP ${status}, no answer of STS`;
    return new CredentialFailure('CredentialServiceUnreachable', problem, metadata);
  }
  if (status >= 500 || status === 429 || /^Throttling|^RequestLimit/.test(cause.name) || cause instanceof SyntaxError) {
    return new CredentialFailure('CredentialServiceTrouble', `${source}, STS: ${cause.name}`, metadata);
  }
  return new CredentialFailure(cause.name === 'Error' ? 'CredentialServiceTrouble' : cause.name, said, metadata);
}
