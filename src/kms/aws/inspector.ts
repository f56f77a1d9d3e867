import { wipe } from '../../bytes.ts';
import type { Clock } from '../../clock.ts';
import { parseUrl } from '../../url.ts';
import { httpDate } from '../failures/http-date.ts';
import type { DryRun, KmsInspector, Reached } from '../inspect.ts';
import { configuredEndpoint } from './configured-endpoint.ts';
import { describePlace, KmsConnection, type Place } from './connection.ts';
import { type Identity, IdentitySource } from './credentials/identity.ts';
import { answerOf, base64Of, bytesOf, contextMember, dryRunId, keyCalls, msOf, recordOf, textOf } from './key-calls.ts';
import { proxiesOf } from './proxies.ts';
import { chosenRegion } from './region.ts';
import type { CommandConnectionOptions } from './sdk-connection.ts';
import type { EndpointVariants } from './sdk-endpoint.ts';

export interface InspectorOptions extends Omit<CommandConnectionOptions, 'variants' | 'profile'> {
  /** Empty: the Region's public endpoint of STS. */
  readonly stsEndpointUrl: string;
  /** The connection found by another process; undefined: the SDK finds it here. */
  readonly found?: FoundConnection | undefined;
}

export interface FoundConnection extends EndpointVariants {
  readonly credentials: () => Promise<Identity>;
  readonly endpointFrom: string | undefined;
}

const STS_TIMEOUT_MS = 3_000;

/**
 * @param options with an empty Region: see `chosenRegion`
 * @throws KeyError BAD_OPTION for unusable settings of Region, endpoint and proxies in the environment or profile
 */
export async function createKmsInspector(options: InspectorOptions): Promise<KmsInspector> {
  const { found, secrets } = options;
  const environment = environmentOf(options);
  proxiesOf(environment);
  const region = options.region || (await chosenRegion(environment));
  const isChosen = found !== undefined || options.endpointUrl !== '';
  const configured = isChosen ? undefined : await configuredEndpoint(environment);
  const place = { region, endpointUrl: configured?.url ?? options.endpointUrl };
  const chain = async () => {
    if (found !== undefined) return found.credentials;
    const { chainOf, commandConnection } = await import('./sdk-connection.ts');
    return chainOf(commandConnection({ ...options, ...place }));
  };
  const parts = {
    options,
    environment,
    // An identity found by another process is the only one used.
    identity: new IdentitySource(chain, found === undefined ? environment : {}, secrets),
  };
  return inspector(place, parts, found === undefined ? configured?.from : found.endpointFrom);
}

/** The environment, with the shared files that are read instead of those in the home directory. */
function environmentOf({ environment, sharedFiles }: InspectorOptions): NodeJS.ProcessEnv {
  return {
    ...environment,
    ...(sharedFiles === undefined
      ? {}
      : { AWS_SHARED_CREDENTIALS_FILE: sharedFiles.credentials, AWS_CONFIG_FILE: sharedFiles.config }),
  };
}

interface InspectorParts {
  readonly options: InspectorOptions;
  readonly environment: NodeJS.ProcessEnv;
  /** The identity for all Regions. */
  readonly identity: IdentitySource;
}

/** @param endpointFrom the name of the endpoint's source, unless it is an option of the plugin */
function inspector(place: Place, parts: InspectorParts, endpointFrom: string | undefined): KmsInspector {
  const { region, endpointUrl } = place;
  const { options, environment, identity } = parts;
  const { found: variants, timeoutMs, clock } = options;
  const target = { ...place, variants, connectTimeoutMs: timeoutMs, requestTimeoutMs: timeoutMs };
  const connection = new KmsConnection(target, identity, { ...options, environment, proxyEnvironment: environment });
  const others: KmsInspector[] = [];
  return {
    ...keyCalls(connection),
    region,
    endpointUrl,
    endpointFrom: endpointFrom ?? 'aws_key_management_endpoint_url',
    description: `${describePlace(place)}${endpointFrom === undefined ? '' : ` (${endpointFrom})`}`,
    reach: (signal) => reach(connection, clock, signal),
    async credentials() {
      const { $source = {}, accessKeyId, expiration } = await identity.get(clock.wallMs());
      return {
        marks: Object.keys($source),
        accessKeyEnd: accessKeyId.slice(-4),
        expiresMs: expiration?.getTime(),
      };
    },
    async callerIdentity(abortSignal) {
      const { commandConnection } = await import('./sdk-connection.ts');
      const { GetCallerIdentityCommand, STSClient } = await import('@aws-sdk/client-sts');
      const way = { ...options, region, variants, endpointUrl: options.stsEndpointUrl, timeoutMs: STS_TIMEOUT_MS };
      const credentials = async () => {
        const { accessKeyId, secretAccessKey, sessionToken } = await identity.get(clock.wallMs());
        return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
      };
      const sts = new STSClient({ ...commandConnection(way), credentials });
      try {
        return (await sts.send(new GetCallerIdentityCommand({}), { abortSignal })).Arn ?? '';
      } finally {
        sts.destroy();
      }
    },
    async rotation(keyArn, signal) {
      const { members } = await connection.call('GetKeyRotationStatus', { KeyId: keyArn }, signal);
      const { KeyRotationEnabled: isEnabled, RotationPeriodInDays: days } = members;
      return { isEnabled: isEnabled === true, days: typeof days === 'number' ? days : undefined };
    },
    async lastUse(keyArn, signal) {
      const { members } = await connection.call('GetKeyLastUsage', { KeyId: keyArn }, signal);
      const { Operation, Timestamp } = recordOf(members['KeyLastUsage']);
      return {
        operation: textOf(Operation),
        usedMs: msOf(Timestamp),
        trackedSinceMs: msOf(members['TrackingStartDate']),
      };
    },
    async keyPolicy(keyArn, signal) {
      const input = { KeyId: keyArn, PolicyName: 'default' };
      const { members } = await connection.call('GetKeyPolicy', input, signal);
      return textOf(members['Policy']);
    },
    async dryRun(request, signal) {
      await dryRunId(connection, request.action, dryRunInput(request), signal);
    },
    async reEncrypt({ wrapped, masterKeyArn, newMasterKeyArn, encryptionContext, isDryRun }, signal) {
      const input = {
        CiphertextBlob: base64Of(wrapped),
        ...(masterKeyArn === undefined ? {} : { SourceKeyId: masterKeyArn }),
        SourceEncryptionContext: encryptionContext,
        DestinationKeyId: newMasterKeyArn,
        DestinationEncryptionContext: encryptionContext,
      };
      if (isDryRun) {
        const requestId = await dryRunId(connection, 'ReEncrypt', input, signal);
        const wouldBe = { masterKeyArn: newMasterKeyArn, oldMasterKeyArn: masterKeyArn ?? '' };
        return { wrapped: Buffer.alloc(0), ...wouldBe, requestId };
      }
      const answer = await connection.call('ReEncrypt', input, signal);
      const { CiphertextBlob, SourceKeyId } = answer.members;
      return { wrapped: bytesOf(CiphertextBlob), oldMasterKeyArn: textOf(SourceKeyId), ...answerOf(answer) };
    },
    async encrypt({ masterKeyId, plaintext, encryptionContext }, signal) {
      const input = { KeyId: masterKeyId, Plaintext: base64Of(plaintext), ...contextMember(encryptionContext) };
      const answer = await connection.call('Encrypt', input, signal);
      return { wrapped: bytesOf(answer.members['CiphertextBlob']), ...answerOf(answer) };
    },
    async rehearseEncrypt({ masterKeyId, encryptionContext }, signal) {
      const about = { keyId: masterKeyId, context: encryptionContext, keySpec: 'AES_128', principal: '' } as const;
      for (const action of ['Encrypt', 'Decrypt'] as const)
        await dryRunId(connection, action, dryRunInput({ ...about, action, wrapped: undefined }), signal);
    },
    inRegion(other, url = endpointInRegion(endpointUrl, region, other)) {
      const made = inspector(
        { region: other, endpointUrl: url },
        parts,
        url === endpointUrl ? endpointFrom : undefined,
      );
      others.push(made);
      return made;
    },
    close() {
      connection.close();
      for (const other of others) other.close();
    },
  };
}

function dryRunInput({ action, keyId, keySpec, wrapped, principal, context }: DryRun): object {
  const own = { KeyId: keyId, ...contextMember(context) };
  const ciphertext =
    wrapped === undefined ? { DryRunModifiers: ['IGNORE_CIPHERTEXT'] } : { CiphertextBlob: base64Of(wrapped) };
  switch (action) {
    case 'GenerateDataKeyWithoutPlaintext':
    case 'GenerateDataKey':
      return { ...own, KeySpec: keySpec };
    case 'Encrypt':
      return { ...own, Plaintext: base64Of(Buffer.from('permission probe')) };
    case 'Decrypt':
      return { ...own, ...ciphertext };
    case 'ReEncrypt':
      return {
        SourceKeyId: keyId,
        SourceEncryptionContext: context,
        DestinationKeyId: keyId,
        DestinationEncryptionContext: context,
        ...ciphertext,
      };
    case 'CreateGrant':
      return { KeyId: keyId, GranteePrincipal: principal, Operations: ['Decrypt'] };
  }
}

/** KMS refuses an unsigned request, which shows that it is reachable, and its clock. */
async function reach(connection: KmsConnection, clock: Clock, signal: AbortSignal): Promise<Reached> {
  const { status, headers, body } = await connection.callUnsigned('DescribeKey', { KeyId: 'alias/unsigned' }, signal);
  wipe(body);
  return {
    dateMs: httpDate(textOf(headers['date'])),
    receivedMs: clock.wallMs(),
    requestId: textOf(headers['x-amzn-requestid']),
    status,
  };
}

/**
 * Returns the endpoint for another Region. AWS's endpoints name their Region, and a VPC endpoint serves no other: for
 * those the result is empty, the public endpoint. An endpoint without a Region in its name, such as a local one, serves
 * every Region.
 */
function endpointInRegion(endpointUrl: string, region: string, other: string): string {
  if (other === region || endpointUrl === '') return endpointUrl;
  const host = parseUrl(endpointUrl)?.hostname ?? '';
  return host.includes(`.${region}.`) ? '' : endpointUrl;
}
