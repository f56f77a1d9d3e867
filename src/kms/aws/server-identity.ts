import { KMSClient } from '@aws-sdk/client-kms';
import { KeyError, toKeyError } from '../../errors.ts';
import { problemOfEndpointUrl } from '../../format/endpoint-url.ts';
import { REGION } from '../../format/region.ts';
import { configuredEndpoint } from './configured-endpoint.ts';
import { CredentialFailure } from './credentials/failure.ts';
import { chosenRegion } from './region.ts';
import { type CommandConnectionOptions, commandConnection } from './sdk-connection.ts';

/**
 * The endpoint and connection settings from a user's files and programs, found by a process of that user for one of
 * root's.
 */
export interface FoundWay {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** The name of the endpoint's source, unless it is an option of the plugin. */
  readonly endpointFrom: string | undefined;
  readonly usesFips: boolean;
  readonly usesDualstack: boolean;
  /** The certificate bundle that the environment names. */
  readonly certificates: string | undefined;
}

export interface FoundIdentity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  readonly expiresMs: number | undefined;
  /** The AWS SDK's marks for the sources that took part. */
  readonly marks: readonly string[];
}

/** Reports first the endpoint, or the reason why there is none; then the identity, or the reason why there is none. */
export async function findServerIdentity(
  options: Omit<CommandConnectionOptions, 'trustedCertificates'>,
  trustedCertificates: () => readonly string[] | undefined,
  say: (message: object) => void,
): Promise<void> {
  const { environment, secrets } = options;
  let client: KMSClient;
  try {
    const region = options.region || (await chosenRegion(environment));
    const found = options.endpointUrl === '' ? await configuredEndpoint(environment) : undefined;
    const certificates = trustedCertificates();
    const endpointUrl = found?.url ?? options.endpointUrl;
    client = new KMSClient(commandConnection({ ...options, region, endpointUrl, trustedCertificates: certificates }));
    const [usesFips, usesDualstack] = await Promise.all([
      client.config.useFipsEndpoint(),
      client.config.useDualstackEndpoint(),
    ]);
    const way: FoundWay = {
      region,
      endpointUrl,
      endpointFrom: found?.from,
      usesFips,
      usesDualstack,
      certificates: certificates?.at(-1),
    };
    say(way);
  } catch (thrown) {
    const { message, hint } = toKeyError(thrown);
    say({ problem: secrets.redact(message), hint: secrets.redact(hint) });
    return;
  }
  try {
    const identity = await client.config.credentials();
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = identity;
    const marks = '$source' in identity ? Object.keys(identity.$source ?? {}) : [];
    const found: FoundIdentity = {
      accessKeyId,
      secretAccessKey,
      sessionToken,
      expiresMs: expiration?.getTime(),
      marks,
    };
    say(found);
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const metadata = '$metadata' in error ? error.$metadata : undefined;
    say({ problem: secrets.redact(error.message), name: error.name, metadata });
  } finally {
    client.destroy();
  }
}

/** @throws KeyError BAD_OPTION for an error of the other process, PROTOCOL for an invalid message */
export function parseWay(message: Readonly<Record<string, unknown>>): FoundWay {
  const { problem, hint, region, endpointUrl, endpointFrom, usesFips, usesDualstack, certificates } = message;
  if (typeof problem === 'string') {
    throw new KeyError('BAD_OPTION', problem, { hint: typeof hint === 'string' ? hint : undefined });
  }
  if (
    typeof region !== 'string' ||
    !REGION.test(region) ||
    typeof endpointUrl !== 'string' ||
    (endpointUrl !== '' && problemOfEndpointUrl(endpointUrl) !== undefined) ||
    !isTextOrNothing(endpointFrom) ||
    !isTextOrNothing(certificates)
  ) {
    throw malformed();
  }
  const flags = { usesFips: usesFips === true, usesDualstack: usesDualstack === true };
  return { region, endpointUrl, endpointFrom, certificates, ...flags };
}

/** @throws CredentialFailure for an error of the other process, KeyError PROTOCOL for an invalid message */
export function parseIdentity(message: Readonly<Record<string, unknown>>): FoundIdentity {
  const { problem, name, metadata, accessKeyId, secretAccessKey, sessionToken, expiresMs, marks } = message;
  if (typeof problem === 'string') {
    throw new CredentialFailure(typeof name === 'string' ? name : 'CredentialsProviderError', problem, metadata);
  }
  if (
    typeof accessKeyId !== 'string' ||
    typeof secretAccessKey !== 'string' ||
    !isTextOrNothing(sessionToken) ||
    (expiresMs !== undefined && typeof expiresMs !== 'number') ||
    !Array.isArray(marks)
  ) {
    throw malformed();
  }
  const texts = marks.filter((mark: unknown): mark is string => typeof mark === 'string');
  return { accessKeyId, secretAccessKey, sessionToken, expiresMs, marks: texts };
}

function isTextOrNothing(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function malformed(): KeyError {
  return new KeyError('PROTOCOL', 'the process that looks for the credentials of the server gave a malformed answer');
}
