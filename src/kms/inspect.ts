import {
  CreateGrantCommand,
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GetKeyLastUsageCommand,
  GetKeyPolicyCommand,
  GetKeyRotationStatusCommand,
  KMSClient,
  ReEncryptCommand,
} from '@aws-sdk/client-kms';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeySpec } from '../format/sidecar.ts';
import type { Secrets } from '../secrets.ts';
import { configuredEndpoint } from './aws/configured-endpoint.ts';
import { chosenRegion } from './aws/region.ts';
import { type SdkConnection, sdkConnection } from './aws/sdk-connection.ts';
import type { ReEncryptClient } from './client.ts';
import { classifyKmsFailure } from './failures/classify.ts';

export interface InspectorOptions extends ConnectionOptions {
  /** Empty: the Region's public endpoint of STS. */
  readonly stsEndpointUrl: string;
  /** Wall clock, milliseconds since 1970. */
  readonly wallMs: () => number;
}

export interface ConnectionOptions {
  /** Empty: as `chosenRegion` has it. */
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** Milliseconds for connecting and for each request. */
  readonly timeoutMs: number;
  /** Shared files to read instead of those in the home directory; undefined: the SDK's own way to them. */
  readonly sharedFiles: { readonly credentials: string; readonly config: string } | undefined;
  /** Of the shared files; undefined: AWS_PROFILE, then `default`. */
  readonly profile?: string | undefined;
  /** Where the SDK finds its variables: the proxies, and to explain failures of the credential chain. */
  readonly environment: NodeJS.ProcessEnv;
  /** PEM certificates to trust; undefined: the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
  /** Learns what must not leave the process. */
  readonly secrets: Secrets;
  /** Found by another process; undefined: by the SDK, here. */
  readonly found?: FoundConnection | undefined;
}

export interface FoundCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
  /** The SDK's marks. */
  readonly $source: Readonly<Record<string, string>>;
}

export interface FoundConnection {
  readonly credentials: () => Promise<FoundCredentials>;
  readonly endpointFrom: string | undefined;
  readonly usesFips: boolean;
  readonly usesDualstack: boolean;
}

/** Where an identity comes from; nothing of it is secret. */
export interface CredentialSummary {
  /** The AWS SDK's marks for the sources that took part, such as CREDENTIALS_PROFILE. */
  readonly marks: readonly string[];
  /** The last four characters: enough to tell keys apart. */
  readonly accessKeyEnd: string;
  readonly expiresMs: number | undefined;
}

/** What answered a request that nobody signed. */
export interface Reached {
  /** The service's clock, whole seconds; undefined when the answer had no date. */
  readonly dateMs: number | undefined;
  /** Of this machine, when the answer came. */
  readonly receivedMs: number;
  readonly requestId: string;
  readonly status: number;
}

export interface MasterKey {
  readonly arn: string;
  readonly keyId: string;
  readonly state: string;
  readonly spec: string;
  readonly usage: string;
  readonly origin: string;
  /** `AWS` or `CUSTOMER`. */
  readonly manager: string;
  readonly deletionMs: number | undefined;
  readonly isMultiRegion: boolean;
  /** Primary and replicas: Region and ARN. */
  readonly members: readonly { readonly region: string; readonly arn: string }[];
}

export interface Rotation {
  readonly isEnabled: boolean;
  readonly days: number | undefined;
}

/** The last cryptographic operation that succeeded, in one Region. */
export interface LastUse {
  readonly operation: string;
  /** Undefined: none since then. */
  readonly usedMs: number | undefined;
  readonly trackedSinceMs: number | undefined;
}

/** Operations that KMS can be asked about without doing them. */
export const DRY_RUN_ACTIONS = [
  'GenerateDataKeyWithoutPlaintext',
  'Decrypt',
  'GenerateDataKey',
  'Encrypt',
  'ReEncrypt',
  'CreateGrant',
] as const;
export type DryRunAction = (typeof DRY_RUN_ACTIONS)[number];

export interface DryRun {
  readonly action: DryRunAction;
  readonly keyId: string;
  readonly context: EncryptionContext;
  readonly keySpec: KeySpec;
  /** Undefined: KMS looks at the permission only. */
  readonly wrapped: Uint8Array | undefined;
  /** For CreateGrant: a principal that exists. */
  readonly principal: string;
}

/** Looks at KMS and STS, which change nothing there. Errors are thrown as they come; `classifyKmsFailure` sorts them. */
export interface KmsInspector extends ReEncryptClient {
  readonly region: string;
  /** Region and, when it was set, the endpoint. */
  readonly description: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** What names the endpoint. */
  readonly endpointFrom: string;
  /** Without a signature: says whether something like KMS answers, whoever asks. */
  reach(signal: AbortSignal): Promise<Reached>;
  credentials(signal: AbortSignal): Promise<CredentialSummary>;
  /** ARN of the identity. */
  callerIdentity(signal: AbortSignal): Promise<string>;
  describeKey(keyId: string, signal: AbortSignal): Promise<MasterKey>;
  rotation(keyArn: string, signal: AbortSignal): Promise<Rotation>;
  lastUse(keyArn: string, signal: AbortSignal): Promise<LastUse>;
  keyPolicy(keyArn: string, signal: AbortSignal): Promise<string>;
  /** Resolves when KMS would do it. */
  dryRun(request: DryRun, signal: AbortSignal): Promise<void>;
  /** The plaintext is the caller's to wipe. */
  decrypt(
    wrapped: Uint8Array,
    keyArn: string | undefined,
    context: EncryptionContext,
    signal: AbortSignal,
  ): Promise<{ readonly plaintext: Uint8Array; readonly keyArn: string; readonly requestId: string }>;
  /** The same surroundings, another Region; undefined: the endpoint that follows from this one. */
  inRegion(region: string, endpointUrl?: string): KmsInspector;
  close(): void;
}

const STS_TIMEOUT_MS = 3_000;
/** A run of the whole credential chain. */
const CREDENTIALS_MS = 8_000;

export async function createKmsInspector(options: InspectorOptions): Promise<KmsInspector> {
  const environment = surroundingsOf(options);
  const region = options.region || (await chosenRegion(environment));
  if (options.found !== undefined) return inspector({ ...options, region }, options.found.endpointFrom);
  const found = options.endpointUrl === '' ? await configuredEndpoint(environment) : undefined;
  return inspector({ ...options, region, endpointUrl: found?.url ?? options.endpointUrl }, found?.from);
}

/** With the files that are read in the place of those in the home directory. */
function surroundingsOf({ environment, sharedFiles, profile }: ConnectionOptions): NodeJS.ProcessEnv {
  return {
    ...environment,
    ...(profile === undefined ? {} : { AWS_PROFILE: profile }),
    ...(sharedFiles === undefined
      ? {}
      : { AWS_SHARED_CREDENTIALS_FILE: sharedFiles.credentials, AWS_CONFIG_FILE: sharedFiles.config }),
  };
}

/** @param endpointFrom what names the endpoint, when that is no option of the plugin */
function inspector(options: InspectorOptions, endpointFrom?: string): KmsInspector {
  const { region, endpointUrl } = options;
  const kms = new KMSClient(connectionOf(options));
  const others: KmsInspector[] = [];
  return {
    region,
    endpointUrl,
    endpointFrom: endpointFrom ?? 'aws_key_management_endpoint_url',
    description: `Region ${region}${endpointUrl === '' ? '' : `, endpoint ${endpointUrl}`}${endpointFrom === undefined ? '' : ` (${endpointFrom})`}`,
    reach: (abortSignal) => reach(options, abortSignal),
    async credentials() {
      const identity = await kms.config.credentials();
      return {
        marks: '$source' in identity ? Object.keys(identity.$source ?? {}) : [],
        accessKeyEnd: identity.accessKeyId.slice(-4),
        expiresMs: identity.expiration?.getTime(),
      };
    },
    async callerIdentity(abortSignal) {
      const { stsEndpointUrl } = options;
      const sts = new STSClient({
        ...connectionOf({ ...options, endpointUrl: stsEndpointUrl, timeoutMs: STS_TIMEOUT_MS }),
        credentials: kms.config.credentials,
      });
      try {
        return (await sts.send(new GetCallerIdentityCommand({}), { abortSignal })).Arn ?? '';
      } finally {
        sts.destroy();
      }
    },
    async describeKey(KeyId, abortSignal) {
      const { KeyMetadata: key } = await kms.send(new DescribeKeyCommand({ KeyId }), { abortSignal });
      const multi = key?.MultiRegionConfiguration;
      return {
        arn: key?.Arn ?? '',
        keyId: key?.KeyId ?? '',
        state: key?.KeyState ?? '',
        spec: key?.KeySpec ?? '',
        usage: key?.KeyUsage ?? '',
        origin: key?.Origin ?? '',
        manager: key?.KeyManager ?? '',
        deletionMs: key?.DeletionDate?.getTime(),
        isMultiRegion: key?.MultiRegion ?? false,
        members: [multi?.PrimaryKey, ...(multi?.ReplicaKeys ?? [])].flatMap((member) =>
          member?.Arn === undefined || member.Region === undefined ? [] : [{ region: member.Region, arn: member.Arn }],
        ),
      };
    },
    async rotation(KeyId, abortSignal) {
      const answer = await kms.send(new GetKeyRotationStatusCommand({ KeyId }), { abortSignal });
      return { isEnabled: answer.KeyRotationEnabled ?? false, days: answer.RotationPeriodInDays };
    },
    async lastUse(KeyId, abortSignal) {
      const answer = await kms.send(new GetKeyLastUsageCommand({ KeyId }), { abortSignal });
      return {
        operation: answer.KeyLastUsage?.Operation ?? '',
        usedMs: answer.KeyLastUsage?.Timestamp?.getTime(),
        trackedSinceMs: answer.TrackingStartDate?.getTime(),
      };
    },
    async keyPolicy(KeyId, abortSignal) {
      const answer = await kms.send(new GetKeyPolicyCommand({ KeyId, PolicyName: 'default' }), { abortSignal });
      return answer.Policy ?? '';
    },
    async dryRun(request, abortSignal) {
      try {
        await sendDryRun(kms, request, abortSignal);
      } catch (error) {
        // AWS's word for "it would have worked".
        if (error instanceof Error && error.name === 'DryRunOperationException') return;
        throw error;
      }
    },
    async decrypt(wrapped, keyArn, context, abortSignal) {
      const command = new DecryptCommand({
        CiphertextBlob: wrapped,
        ...(keyArn === undefined ? {} : { KeyId: keyArn }),
        EncryptionContext: { ...context },
      });
      const answer = await kms.send(command, { abortSignal });
      const { Plaintext: plaintext = new Uint8Array(), KeyId = '', $metadata } = answer;
      return { plaintext, keyArn: KeyId, requestId: $metadata.requestId ?? '' };
    },
    async reEncrypt({ wrapped, masterKeyArn, newMasterKeyArn, encryptionContext, isDryRun }, abortSignal) {
      const command = new ReEncryptCommand({
        CiphertextBlob: wrapped,
        ...(masterKeyArn === undefined ? {} : { SourceKeyId: masterKeyArn }),
        SourceEncryptionContext: { ...encryptionContext },
        DestinationKeyId: newMasterKeyArn,
        DestinationEncryptionContext: { ...encryptionContext },
        DryRun: isDryRun,
      });
      try {
        const {
          CiphertextBlob = new Uint8Array(),
          KeyId = '',
          SourceKeyId = '',
          $metadata,
        } = await kms.send(command, {
          abortSignal,
        });
        return {
          wrapped: Buffer.from(CiphertextBlob),
          masterKeyArn: KeyId,
          oldMasterKeyArn: SourceKeyId,
          requestId: $metadata.requestId ?? '',
        };
      } catch (error) {
        const { name, requestId } = classifyKmsFailure(error);
        if (!isDryRun || name !== 'DryRunOperationException') throw error;
        return {
          wrapped: Buffer.alloc(0),
          masterKeyArn: newMasterKeyArn,
          oldMasterKeyArn: masterKeyArn ?? '',
          requestId,
        };
      }
    },
    inRegion(other, url = endpointInRegion(endpointUrl, region, other)) {
      const made = inspector(
        { ...options, region: other, endpointUrl: url },
        url === endpointUrl ? endpointFrom : undefined,
      );
      others.push(made);
      return made;
    },
    close() {
      kms.destroy();
      for (const other of others) other.close();
    },
  };
}

async function sendDryRun(kms: KMSClient, request: DryRun, abortSignal: AbortSignal): Promise<unknown> {
  const { action, keyId: KeyId, keySpec: KeySpec, wrapped, principal } = request;
  const EncryptionContext = { ...request.context };
  const DryRun = true;
  const ciphertext =
    wrapped === undefined ? { DryRunModifiers: ['IGNORE_CIPHERTEXT' as const] } : { CiphertextBlob: wrapped };
  switch (action) {
    case 'GenerateDataKeyWithoutPlaintext': {
      const command = new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec, EncryptionContext, DryRun });
      return await kms.send(command, { abortSignal });
    }
    case 'GenerateDataKey':
      return await kms.send(new GenerateDataKeyCommand({ KeyId, KeySpec, EncryptionContext, DryRun }), { abortSignal });
    case 'Encrypt': {
      const Plaintext = Buffer.from('permission probe');
      return await kms.send(new EncryptCommand({ KeyId, Plaintext, EncryptionContext, DryRun }), { abortSignal });
    }
    case 'Decrypt':
      return await kms.send(new DecryptCommand({ KeyId, EncryptionContext, DryRun, ...ciphertext }), { abortSignal });
    case 'ReEncrypt': {
      const command = new ReEncryptCommand({
        SourceKeyId: KeyId,
        SourceEncryptionContext: EncryptionContext,
        DestinationKeyId: KeyId,
        DestinationEncryptionContext: EncryptionContext,
        DryRun,
        ...ciphertext,
      });
      return await kms.send(command, { abortSignal });
    }
    case 'CreateGrant': {
      const Operations = ['Decrypt' as const];
      const command = new CreateGrantCommand({ KeyId, GranteePrincipal: principal, Operations, DryRun });
      return await kms.send(command, { abortSignal });
    }
  }
}

/** KMS refuses an unsigned request, and by that shows that it is there, and its clock. */
async function reach(options: InspectorOptions, abortSignal: AbortSignal): Promise<Reached> {
  const client = new KMSClient({
    ...connectionOf(options),
    credentials: { accessKeyId: 'unsigned', secretAccessKey: 'unsigned' },
    signer: { sign: async (request) => request },
  });
  let reached: Reached | undefined;
  client.middlewareStack.add(
    (next) => async (handlerArguments) => {
      const result = await next(handlerArguments);
      reached = readAnswer(result.response, options.wallMs());
      return result;
    },
    { step: 'deserialize', priority: 'low', name: 'readAnswer' },
  );
  try {
    await client.send(new DescribeKeyCommand({ KeyId: 'alias/unsigned' }), { abortSignal });
  } catch (error) {
    if (reached === undefined) throw error;
  } finally {
    client.destroy();
  }
  return reached ?? { dateMs: undefined, receivedMs: options.wallMs(), requestId: '', status: 0 };
}

function readAnswer(response: unknown, receivedMs: number): Reached {
  const answer: Record<string, unknown> = typeof response === 'object' && response !== null ? { ...response } : {};
  const headers: Record<string, unknown> =
    typeof answer['headers'] === 'object' && answer['headers'] !== null ? { ...answer['headers'] } : {};
  const dateMs = Date.parse(String(headers['date']));
  return {
    dateMs: Number.isNaN(dateMs) ? undefined : dateMs,
    receivedMs,
    requestId: typeof headers['x-amzn-requestid'] === 'string' ? headers['x-amzn-requestid'] : '',
    status: typeof answer['statusCode'] === 'number' ? answer['statusCode'] : 0,
  };
}

export function connectionOf(options: ConnectionOptions): SdkConnection & {
  readonly credentials?: FoundConnection['credentials'];
  readonly useFipsEndpoint?: boolean;
  readonly useDualstackEndpoint?: boolean;
} {
  const { timeoutMs, environment, found } = options;
  const connection = sdkConnection({
    ...options,
    connectTimeoutMs: timeoutMs,
    requestTimeoutMs: timeoutMs,
    credentialsTimeoutMs: CREDENTIALS_MS,
    proxyEnvironment: environment,
  });
  if (found === undefined) return connection;
  const { credentials, usesFips, usesDualstack } = found;
  return { ...connection, credentials, useFipsEndpoint: usesFips, useDualstackEndpoint: usesDualstack };
}

/**
 * The endpoint for another Region. AWS's endpoints name their Region, and a VPC endpoint serves no other: there the
 * public endpoint takes over (empty). An endpoint that names none, such as a local one, serves every Region.
 */
function endpointInRegion(endpointUrl: string, region: string, other: string): string {
  if (other === region || endpointUrl === '') return endpointUrl;
  const host = URL.parse(endpointUrl)?.hostname ?? '';
  return host.includes(`.${region}.`) ? '' : endpointUrl;
}
