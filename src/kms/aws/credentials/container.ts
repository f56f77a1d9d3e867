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
    // Not JSON.parse's text: it quotes what it could not parse.
    const problem = cause instanceof SyntaxError ? 'the answer is no JSON' : cause.name;
    return new CredentialFailure('ContainerEndpointTrouble', `${source}: ${problem}`);
  }
  const said = sentence(step.messages[0] ?? '');
  if (/^URL not accepted/.test(said)) return new CredentialFailure('ContainerEndpointRefused', `${source}: ${said}`);
  // The provider that asks the endpoint says nothing of its answer; the one after it knows fewer endpoints and says so.
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
