import { systemErrorCode } from '../../../errors.ts';
import type { ChainStep } from './chain-log.ts';
import { containerEndpoint, containerHost, examineContainerEndpoint } from './container-endpoint.ts';
import { CredentialFailure, sentence } from './failure.ts';
import { isFileError, isProviderError, pathOf } from './sdk-error.ts';

export async function explainContainer(
  step: ChainStep,
  cause: Error | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<CredentialFailure> {
  const source = `container endpoint ${containerHost(environment)}`;
  if (cause !== undefined && !isProviderError(cause)) {
    if (isFileError(cause)) {
      const problem = `cannot read the token file ${pathOf(cause)}(${systemErrorCode(cause) ?? cause.name})`;
      return new CredentialFailure('ContainerTokenUnreadable', `${source}: ${problem}`);
    }
    // JSON.parse's own message would quote the text that it could not parse.
    const problem = cause instanceof SyntaxError ? 'the answer is no JSON' : cause.name;
    return new CredentialFailure('ContainerEndpointTrouble', `${source}: ${problem}`);
  }
  const said = sentence(step.messages[0] ?? '');
  if (/^URL not accepted/.test(said)) return new CredentialFailure('ContainerEndpointRefused', `${source}: ${said}`);
  // The provider for this endpoint does not describe the answer; the next provider knows fewer endpoints, and its error
  // would mislead.
  const url = containerEndpoint(environment);
  if (url === undefined || !(said === '' || /metadata service/.test(said))) {
    return new CredentialFailure('ContainerEndpointTrouble', `${source}: ${said || 'no credentials came'}`);
  }
  const found = await examineContainerEndpoint(url, environment);
  const problem = typeof found === 'string' ? found : found === 200 ? 'no usable credentials came' : `HTTP ${found}`;
  const refused = typeof found === 'number' && found >= 400 && found < 500 && found !== 429;
  const name = refused ? 'ContainerEndpointRefused' : 'ContainerEndpointTrouble';
  return new CredentialFailure(name, `${source}: ${problem}`);
}
