import type { ChainStep } from './chain-log.ts';
import { containerHost } from './container-endpoint.ts';
import { metadataEndpoint } from './instance-metadata.ts';

/** The name of the failed step's source in messages. */
export function sourceName(step: ChainStep | undefined, environment: NodeJS.ProcessEnv): string {
  switch (step?.link) {
    case undefined:
      return 'the credential chain';
    case 'profile':
      return step.detail === 'process' ? `credential_process of ${profileOf(environment)}` : profileOf(environment);
    case 'web identity':
      return 'web identity (AWS_WEB_IDENTITY_TOKEN_FILE)';
    case 'container':
      return `container endpoint ${containerHost(environment)}`;
    case 'instance metadata':
      return `instance metadata at ${metadataEndpoint(environment)}`;
  }
}

export function profileOf(environment: NodeJS.ProcessEnv): string {
  return `profile "${environment['AWS_PROFILE'] || 'default'}"`;
}
