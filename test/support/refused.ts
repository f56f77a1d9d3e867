import { systemClock } from '../../src/cli/system.ts';
import type { KeyError } from '../../src/errors.ts';
import { createAwsKmsClient } from '../../src/kms/aws/client.ts';
import { createKmsInspector } from '../../src/kms/aws/inspector.ts';
import { Secrets } from '../../src/secrets.ts';
import { expectKeyError } from './expect-error.ts';

/** The clients that read an environment on their way to KMS. */
export const WHO_READS_ENVIRONMENTS = ['agent', 'doctor'] as const;

/** The refusal of an environment by the agent's client or the doctor's, which must be BAD_OPTION with this message. */
export async function refusalOf(
  who: (typeof WHO_READS_ENVIRONMENTS)[number],
  environment: NodeJS.ProcessEnv,
  message: string | RegExp,
): Promise<KeyError> {
  const parts = { trustedCertificates: undefined, clock: systemClock, secrets: new Secrets() };
  const target = { region: 'us-east-1', endpointUrl: '' };
  return await expectKeyError(
    who === 'agent'
      ? createAwsKmsClient({ ...target, requestTimeoutMs: 0 }, { ...parts, proxyEnvironment: environment })
      : createKmsInspector({
          ...target,
          ...parts,
          stsEndpointUrl: '',
          timeoutMs: 1,
          sharedFiles: undefined,
          environment,
        }),
    'BAD_OPTION',
    message,
  );
}
