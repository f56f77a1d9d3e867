import { KeyError } from '../errors.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import { createAwsKmsClient } from '../kms/aws/client.ts';
import { type Call, KmsCaller } from '../kms/caller.ts';
import type { Answer, MasterKey as InternalMasterKey } from '../kms/client.ts';
import type { CallOptions } from './calls.ts';
import { keepParts } from './kms-parts.ts';
import { limited, milliseconds } from './limited.ts';
import type { EncryptionContext, KeySpec } from './names.ts';
import { awsSurroundings, guarded, systemSurroundings } from './surroundings.ts';

export interface KmsOptions {
  /** Default: AWS_REGION, the Region of the profile, AWS_DEFAULT_REGION, `us-east-1`, in this order. */
  readonly region?: string | undefined;
  /** `https://…` or `http://…`; default: AWS's own endpoint, or what the environment configures. */
  readonly endpointUrl?: string | undefined;
  /** Regions with replicas of a multi-Region master key. `decrypt` tries them in this order after the first. */
  readonly failoverRegions?: readonly KmsRegion[] | undefined;
  /** Milliseconds for connecting and for each attempt; default 5000 and 10000. */
  readonly requestTimeoutMs?: number | undefined;
}

export interface KmsRegion {
  readonly region: string;
  /** Default: the Region's public endpoint. */
  readonly endpointUrl?: string | undefined;
}

/**
 * A client of AWS KMS. Calls are repeated while a failure may pass by itself, and each answer is checked.
 *
 * Every call may throw KeyError: KMS_OPERATOR (refused until somebody changes something: permission, state of the master
 * key, credentials), KMS_TRANSIENT (KMS, the network or a credential source; all retries failed), KMS_CORRUPT (the
 * wrapped key or its context), KMS_BAD_ANSWER, TIMEOUT, BAD_OPTION. `failure` then has AWS's error name and request id.
 */
export interface Kms {
  /** The Region of the calls. */
  readonly region: string;

  /** Decrypt: unwraps a data key. The caller owns the plaintext, and should overwrite it after use. */
  decrypt(request: DecryptRequest, options?: CallOptions): Promise<DecryptedKey>;

  /** GenerateDataKeyWithoutPlaintext: makes a wrapped data key. Nothing is stored. */
  generateDataKeyWithoutPlaintext(request: GenerateRequest, options?: CallOptions): Promise<GeneratedKey>;

  /** DescribeKey. @param masterKeyId key id, key ARN, alias name or alias ARN */
  describeKey(masterKeyId: string, options?: CallOptions): Promise<MasterKey>;

  /** Closes the connections. Calls that are under way fail. */
  close(): void;
}

export interface DecryptRequest {
  /** KMS's CiphertextBlob. */
  readonly wrapped: Uint8Array;
  /** Pins the master key; default: KMS finds it from the wrapped key. */
  readonly masterKeyArn?: string | undefined;
  /** Exactly the pairs that the key was wrapped with; default: none. */
  readonly encryptionContext?: EncryptionContext | undefined;
}

export interface DecryptedKey {
  /** The data key: 16, 24 or 32 bytes. */
  readonly plaintext: Uint8Array;
  /** ARN of the master key that KMS used. */
  readonly masterKeyArn: string;
  readonly requestId: string;
  /** The Region that answered. */
  readonly servedBy: string;
}

export interface GenerateRequest {
  /** Key id, key ARN, alias name or alias ARN. */
  readonly masterKeyId: string;
  /** Default: `AES_256`. */
  readonly keySpec?: KeySpec | undefined;
  /** Default: none. */
  readonly encryptionContext?: EncryptionContext | undefined;
}

export interface GeneratedKey {
  /** KMS's CiphertextBlob, 1 to 6144 bytes. */
  readonly wrapped: Uint8Array;
  /** ARN of the master key that KMS used; never an alias. */
  readonly masterKeyArn: string;
  readonly requestId: string;
}

export interface MasterKey {
  readonly arn: string;
  readonly keyId: string;
  /** KMS's KeyState: `Enabled`, `Disabled`, `PendingDeletion`, … */
  readonly state: string;
  /** KMS's KeySpec, such as `SYMMETRIC_DEFAULT`. */
  readonly spec: string;
  /** KMS's KeyUsage, such as `ENCRYPT_DECRYPT`. */
  readonly usage: string;
  /** KMS's Origin, such as `AWS_KMS`. */
  readonly origin: string;
  /** `AWS` or `CUSTOMER`. */
  readonly manager: string;
  /** Milliseconds since 1970; undefined: it is not to be deleted. */
  readonly deletionMs: number | undefined;
  readonly isMultiRegion: boolean;
  /** The primary key and its replicas; empty unless it is a multi-Region key. */
  readonly members: readonly { readonly region: string; readonly arn: string }[];
}

interface Described extends Answer {
  readonly key: InternalMasterKey;
}

/**
 * Makes a client of KMS with the credentials of AWS's default chain: environment, shared files, web identity, container,
 * instance. Proxies (`HTTPS_PROXY`, …) and certificates (`AWS_CA_BUNDLE`, `SSL_CERT_FILE`) come from the environment,
 * too. Sends nothing before the first call. Idle connections do not keep the process alive.
 * @throws KeyError BAD_OPTION for unusable options, or settings of the environment or the profile
 */
export async function createKms(options: KmsOptions = {}): Promise<Kms> {
  const surroundings = systemSurroundings();
  return await guarded(surroundings, async () => {
    const requestTimeoutMs = milliseconds('requestTimeoutMs', options.requestTimeoutMs) ?? 0;
    const connect = ({ region = '', endpointUrl = '' }: Pick<KmsOptions, 'region' | 'endpointUrl'>) =>
      createAwsKmsClient(
        { region: checkedRegion(region), endpointUrl: checkedEndpoint(endpointUrl), requestTimeoutMs },
        awsSurroundings(surroundings),
      );
    const first = await connect(options);
    const others = await Promise.all((options.failoverRegions ?? []).map(connect));
    const caller = new DescribingCaller([first, ...others], surroundings.clock, surroundings.random, NOBODY);
    const kms: Kms = {
      region: first.region,
      decrypt: (request, limits = {}) =>
        limited(surroundings, limits, async (deadline) => {
          const { wrapped, masterKeyArn, encryptionContext = {} } = request;
          const unwrap = { wrapped, masterKeyArn, encryptionContext, keySpec: undefined, keyCheckValue: undefined };
          const { plaintext, servedBy = first.region, ...answer } = await caller.decrypt('data key', unwrap, deadline);
          // A plain view of the same memory, so that the caller can wipe it.
          const bytes = new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
          return { plaintext: bytes, masterKeyArn: answer.masterKeyArn, requestId: answer.requestId, servedBy };
        }),
      generateDataKeyWithoutPlaintext: ({ masterKeyId, keySpec = 'AES_256', encryptionContext = {} }, limits = {}) =>
        limited(surroundings, limits, async (deadline) => {
          const request = { masterKeyId, keySpec, encryptionContext };
          const { wrapped, ...answer } = await caller.generate(`master key ${masterKeyId}`, request, deadline);
          return {
            wrapped: new Uint8Array(wrapped),
            masterKeyArn: answer.masterKeyArn,
            requestId: answer.requestId,
          };
        }),
      describeKey: (masterKeyId, limits = {}) =>
        limited(surroundings, limits, (deadline) =>
          caller.describe(
            {
              operation: 'DescribeKey',
              subject: `master key ${masterKeyId}`,
              send: async (_, signal) => {
                const key = await first.describeKey(masterKeyId, signal);
                return { masterKeyArn: key.arn, requestId: '', key };
              },
              problemOf: () => undefined,
              discard: () => undefined,
            },
            deadline,
          ),
        ),
      close: () => {
        for (const client of [first, ...others]) client.close();
      },
    };
    return keepParts(kms, { caller, surroundings });
  });
}

const NOBODY = { attemptStarted: () => undefined, attemptEnded: () => undefined };

class DescribingCaller extends KmsCaller {
  async describe(call: Call<Described>, deadline: Parameters<KmsCaller['generate']>[2]): Promise<MasterKey> {
    const { arn, keyId, state, spec, usage, origin, manager, deletionMs, isMultiRegion, members } = (
      await this.askFirst(call, deadline)
    ).key;
    return { arn, keyId, state, spec, usage, origin, manager, deletionMs, isMultiRegion, members };
  }
}

function checkedRegion(region: string): string {
  if (region === '' || REGION.test(region)) return region;
  throw new KeyError('BAD_OPTION', `"region" expected ${REGION_EXPECTED}, got ${JSON.stringify(region)}`);
}

function checkedEndpoint(url: string): string {
  const problem = url === '' ? undefined : problemOfEndpointUrl(url);
  if (problem !== undefined) throw new KeyError('BAD_OPTION', `"endpointUrl" ${problem}`);
  return url;
}
