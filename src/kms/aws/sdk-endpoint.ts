import { DescribeKeyCommand, KMSClient } from '@aws-sdk/client-kms';

export interface Endpoint {
  readonly url: URL;
  /** The Region in signatures. */
  readonly signingRegion: string;
}

/** Variants of public endpoints. */
export interface EndpointVariants {
  readonly usesFips: boolean;
  readonly usesDualstack: boolean;
}

type Handler = Parameters<NonNullable<KMSClient['config']['requestHandler']>['handle']>;

/**
 * Lets the SDK build a request, and returns the endpoint that it would have used: its variables, shared files and rules
 * apply.
 */
export async function sdkEndpoint(region: string, endpointUrl: string, variants?: EndpointVariants): Promise<Endpoint> {
  let endpoint: Endpoint | undefined;
  const client = new KMSClient({
    region,
    ...(endpointUrl === '' ? {} : { endpoint: endpointUrl }),
    ...(variants === undefined
      ? {}
      : { useFipsEndpoint: variants.usesFips, useDualstackEndpoint: variants.usesDualstack }),
    credentials: { accessKeyId: 'nobody', secretAccessKey: 'nothing' },
    maxAttempts: 1,
    requestHandler: {
      handle: async ({ protocol, hostname, port, path, headers }: Handler[0]) => {
        const scope = /Credential=nobody\/\d+\/([^/]+)\//.exec(headers['authorization'] ?? '');
        const authority = port === undefined ? hostname : `${hostname}:${port}`;
        endpoint = { url: new URL(`${protocol}//${authority}${path}`), signingRegion: scope?.[1] ?? region };
        throw new Error('nothing is sent');
      },
    },
  });
  try {
    await client.send(new DescribeKeyCommand({ KeyId: 'nothing' }));
  } catch (error) {
    if (endpoint === undefined) throw error;
  } finally {
    client.destroy();
  }
  if (endpoint === undefined) throw new Error('the SDK made no request');
  return endpoint;
}
