import { wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import { KEY_SPECS } from '../format/sidecar.ts';
import { createAwsKmsClient } from '../kms/aws/client.ts';
import { type Call, KmsCaller } from '../kms/caller.ts';
import type { Answer, MasterKey as InternalMasterKey } from '../kms/client.ts';
import { checkMembers, contextPairs, milliseconds, text, wrappedKey } from './arguments.ts';
import type { CallOptions } from './calls.ts';
import { keepParts } from './kms-parts.ts';
import { limited } from './limited.ts';
import type { EncryptionContext, KeySpec } from './names.ts';
import { awsSurroundings, guarded, systemSurroundings } from './surroundings.ts';

export interface KmsOptions {
  /** Default: AWS_REGION, the Region of the profile, AWS_DEFAULT_REGION, `us-east-1`, in this order. */
  readonly region?: string | undefined;
  /** `https://…` or `http://…`; default: AWS's own endpoint, or what the environment configures. */
  readonly endpointUrl?: string | undefined;
  /** Regions with replicas of a multi-Region master key. `decrypt` tries them in this order after the first. */
  readonly failoverRegions?: readonly KmsRegion[] | undefined;
  /** Milliseconds for connecting and for each attempt, 1 to 2147483647; default 5000 and 10000. */
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
 * Every call may reject with a KeyError: KMS_OPERATOR (refused until somebody changes something: permission, state of
 * the master key, credentials), KMS_TRANSIENT (KMS, the network or a credential source; all retries failed), KMS_CORRUPT
 * (the wrapped key or its context), KMS_BAD_ANSWER, TIMEOUT, BAD_OPTION, CLOSED. After a failed call of KMS, `failure`
 * has AWS's error name and request id.
 */
export interface Kms {
  /** The Region of the calls, such as `eu-central-1`. */
  readonly region: string;

  /** Decrypt: unwraps a data key. The caller owns the plaintext and wipes it. */
  decrypt(request: DecryptRequest, options?: CallOptions): Promise<DecryptedKey>;

  /** GenerateDataKeyWithoutPlaintext: makes a wrapped data key. Nothing is stored. */
  generateDataKeyWithoutPlaintext(request: GenerateRequest, options?: CallOptions): Promise<GeneratedKey>;

  /** DescribeKey. @param masterKeyId key id, key ARN, alias name (`alias/…`) or alias ARN */
  describeKey(masterKeyId: string, options?: CallOptions): Promise<MasterKey>;

  /** Closes the connections; calls that are under way, and later ones, reject with CLOSED. */
  close(): void;

  /** `close()`, for `using`. */
  [Symbol.dispose](): void;
}

export interface DecryptRequest {
  /** KMS's CiphertextBlob, 1 to 6144 bytes. */
  readonly wrapped: Uint8Array;
  /** Pins the master key; default: KMS finds it from the wrapped key. */
  readonly masterKeyArn?: string | undefined;
  /** Exactly the pairs that the key was wrapped with; default: none. */
  readonly encryptionContext?: EncryptionContext | undefined;
}

export interface DecryptedKey {
  /** The data key: 16, 24 or 32 bytes. It is not enumerable: no log, JSON or spread shows it. */
  readonly plaintext: Uint8Array;
  /** ARN of the master key that KMS used. */
  readonly masterKeyArn: string;
  /** KMS's request id, for CloudTrail. */
  readonly requestId: string;
  /** The Region that answered. */
  readonly servedBy: string;

  /** Overwrites the plaintext with zeros. Copies that the runtime made are out of reach. */
  wipe(): void;

  /** `wipe()`, for `using`. */
  [Symbol.dispose](): void;
}

export interface GenerateRequest {
  /** Key id, key ARN, alias name (`alias/…`) or alias ARN. */
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
  /** KMS's request id, for CloudTrail. */
  readonly requestId: string;
}

export interface MasterKey {
  /** ARN of the key, also when an alias named it. */
  readonly arn: string;
  /** KMS's KeyId, the last part of the ARN. */
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
  /** ISO 8601, UTC; undefined: it is not to be deleted. */
  readonly deletionDate: string | undefined;
  readonly isMultiRegion: boolean;
  /** The primary key and its replicas; empty unless it is a multi-Region key. */
  readonly members: readonly { readonly region: string; readonly arn: string }[];
}

interface Described extends Answer {
  readonly key: InternalMasterKey;
}

/**
 * Makes a client with the identity that AWS's tools would use. It reads the environment and AWS's shared files, sends
 * nothing before the first call, and does not keep the process alive between calls.
 * @throws KeyError BAD_OPTION for unusable options, or settings of the environment or the profile
 */
export async function createKms(options: KmsOptions = {}): Promise<Kms> {
  const surroundings = systemSurroundings();
  return await guarded(surroundings, async () => {
    checkMembers('options', options, {
      region: true,
      endpointUrl: true,
      failoverRegions: true,
      requestTimeoutMs: true,
    });
    const requestTimeoutMs = milliseconds('requestTimeoutMs', options.requestTimeoutMs) ?? 0;
    const connect = ({ region, endpointUrl }: Pick<KmsOptions, 'region' | 'endpointUrl'>) =>
      createAwsKmsClient(
        { region: checkedRegion(region), endpointUrl: checkedEndpoint(endpointUrl), requestTimeoutMs },
        awsSurroundings(surroundings),
      );
    const first = await connect(options);
    const others = await Promise.all(checkedRegions(options.failoverRegions).map(connect));
    const caller = new DescribingCaller([first, ...others], surroundings.clock, surroundings.random, NOBODY);
    const closing = new AbortController();
    const context = { surroundings, closing: closing.signal };
    const kms: Kms = {
      region: first.region,
      decrypt: (request, limits = {}) =>
        limited(context, limits, async (deadline) => {
          const unwrap = checkedDecryptRequest(request);
          const { plaintext, servedBy = first.region, ...answer } = await caller.decrypt('data key', unwrap, deadline);
          return new OpenedKey(plaintext, answer, servedBy);
        }),
      generateDataKeyWithoutPlaintext: (request, limits = {}) =>
        limited(context, limits, async (deadline) => {
          const generate = checkedGenerateRequest(request);
          const subject = `master key ${generate.masterKeyId}`;
          const { wrapped, masterKeyArn, requestId } = await caller.generate(subject, generate, deadline);
          return { wrapped: new Uint8Array(wrapped), masterKeyArn, requestId };
        }),
      describeKey: (masterKeyId, limits = {}) =>
        limited(context, limits, (deadline) =>
          caller.describe(
            {
              operation: 'DescribeKey',
              subject: `master key ${text('masterKeyId', masterKeyId)}`,
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
        closing.abort();
        for (const client of [first, ...others]) client.close();
      },
      [Symbol.dispose]: () => kms.close(),
    };
    return keepParts(kms, { ...context, caller });
  });
}

const NOBODY = { attemptStarted: () => undefined, attemptEnded: () => undefined };

/** Members with `#` and those of the prototype are in no log and no JSON. */
class OpenedKey implements DecryptedKey {
  readonly #plaintext: Uint8Array;
  readonly masterKeyArn: string;
  readonly requestId: string;
  readonly servedBy: string;

  constructor(plaintext: Buffer, { masterKeyArn, requestId }: Answer, servedBy: string) {
    // A plain view of the same memory, so that no copy is left to wipe.
    this.#plaintext = new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
    this.masterKeyArn = masterKeyArn;
    this.requestId = requestId;
    this.servedBy = servedBy;
  }

  get plaintext(): Uint8Array {
    return this.#plaintext;
  }

  wipe(): void {
    wipe(this.#plaintext);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

class DescribingCaller extends KmsCaller {
  async describe(call: Call<Described>, deadline: Parameters<KmsCaller['generate']>[2]): Promise<MasterKey> {
    const { arn, keyId, state, spec, usage, origin, manager, deletionMs, isMultiRegion, members } = (
      await this.askFirst(call, deadline)
    ).key;
    const deletionDate = deletionMs === undefined ? undefined : new Date(deletionMs).toISOString();
    return { arn, keyId, state, spec, usage, origin, manager, deletionDate, isMultiRegion, members };
  }
}

function checkedDecryptRequest(request: DecryptRequest) {
  checkMembers('request', request, { wrapped: true, masterKeyArn: true, encryptionContext: true });
  const { wrapped, masterKeyArn, encryptionContext = {} } = request;
  return {
    wrapped: wrappedKey(wrapped),
    masterKeyArn: masterKeyArn === undefined ? undefined : text('masterKeyArn', masterKeyArn),
    encryptionContext: contextPairs(encryptionContext),
    keySpec: undefined,
    keyCheckValue: undefined,
  };
}

function checkedGenerateRequest(request: GenerateRequest) {
  checkMembers('request', request, { masterKeyId: true, keySpec: true, encryptionContext: true });
  const { masterKeyId, keySpec = 'AES_256', encryptionContext = {} } = request;
  if (!KEY_SPECS.includes(keySpec)) throw new KeyError('BAD_OPTION', `"keySpec" expected ${KEY_SPECS.join(' or ')}`);
  return {
    masterKeyId: text('masterKeyId', masterKeyId),
    keySpec,
    encryptionContext: contextPairs(encryptionContext),
  };
}

function checkedRegions(regions: readonly KmsRegion[] = []): readonly KmsRegion[] {
  if (!Array.isArray(regions)) throw new KeyError('BAD_OPTION', '"failoverRegions" expected an array');
  for (const each of regions) {
    checkMembers('failoverRegions', each, { region: true, endpointUrl: true });
    text('region', each.region);
  }
  return regions;
}

/** @returns empty: the default */
function checkedRegion(region: string | undefined): string {
  if (region === undefined) return '';
  if (REGION.test(text('region', region))) return region;
  throw new KeyError('BAD_OPTION', `"region" expected ${REGION_EXPECTED}, got ${JSON.stringify(region)}`);
}

/** @returns empty: the default */
function checkedEndpoint(url: string | undefined): string {
  if (url === undefined) return '';
  const problem = problemOfEndpointUrl(text('endpointUrl', url));
  if (problem !== undefined) throw new KeyError('BAD_OPTION', `"endpointUrl" ${problem}`);
  return url;
}
