import { CredentialFailure } from './failure.ts';
import { examineInstanceMetadata, metadataEndpoint } from './instance-metadata.ts';

export async function explainInstanceMetadata(environment: NodeJS.ProcessEnv): Promise<CredentialFailure | undefined> {
  const endpoint = metadataEndpoint(environment);
  const source = `instance metadata at ${endpoint}`;
  const state = await examineInstanceMetadata(endpoint);
  switch (state.is) {
    case 'unreachable':
      // An unreachable service that was not configured only means that the machine is not an EC2 instance.
      if (!environment['AWS_EC2_METADATA_SERVICE_ENDPOINT']) return undefined;
      return new CredentialFailure('InstanceMetadataUnreachable', `${source} cannot be reached`);
    case 'hop-limit':
      return new CredentialFailure('InstanceMetadataHopLimit', `${source}: the request for a token is not answered`);
    case 'off':
      return new CredentialFailure('InstanceMetadataOff', `${source} is switched off (HTTP 403)`);
    case 'v1-only':
      return new CredentialFailure('InstanceMetadataV1Only', `${source} gives no token: it is not IMDSv2`);
    case 'no-role':
      return new CredentialFailure('InstanceMetadataNoRole', `${source}: the instance has no role`);
    case 'trouble':
      return new CredentialFailure('InstanceMetadataTrouble', `${source}: ${state.detail}`);
  }
}
