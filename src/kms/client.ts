import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeySpec } from '../format/sidecar.ts';

/** What a server asks of KMS in one Region: two calls. Errors are thrown as they come; `classifyKmsFailure` sorts them. */
export interface DataKeyClient {
  readonly region: string;
  /** Where the calls go, for messages: Region and, when it was set, the endpoint. */
  readonly description: string;
  /** GenerateDataKeyWithoutPlaintext. */
  generateWrappedKey(request: GenerateRequest, signal: AbortSignal): Promise<GeneratedKey>;
  /** Decrypt. The caller owns the plaintext and wipes it. */
  decrypt(request: DecryptRequest, signal: AbortSignal): Promise<DecryptedKey>;
  /** Decrypt with DryRun: returns when it would succeed, throws what it would throw. */
  probe(request: DecryptRequest, signal: AbortSignal): Promise<Answer>;
}

/** What moves keys to another master key, with the identity of an operator: a server's has no use for it. */
export interface ReEncryptClient extends DataKeyClient {
  /** DescribeKey: the ARN of what may be named by an alias or an id. */
  describeKey(keyId: string, signal: AbortSignal): Promise<Pick<MasterKey, 'arn'>>;
  /** ReEncrypt, under the same encryption context. */
  reEncrypt(request: ReEncryptRequest, signal: AbortSignal): Promise<ReEncryptedKey>;
}

export interface KmsClient extends DataKeyClient {
  /** DescribeKey, which the server's identity need not be allowed: throws then. */
  describeKey(keyId: string, signal: AbortSignal): Promise<MasterKeyDescription>;
  close(): void;
}

/** The configured Region, then those of `aws_key_management_failover_regions`. */
export type KmsClients = readonly [KmsClient, ...KmsClient[]];

export interface MasterKeyDescription {
  /** KMS's KeyState: Enabled, Disabled, PendingDeletion, ... */
  readonly state: string;
  /** Milliseconds since 1970; undefined: it is not to be deleted. */
  readonly deletionMs: number | undefined;
}

export interface MasterKey extends MasterKeyDescription {
  readonly arn: string;
  readonly keyId: string;
  readonly spec: string;
  readonly usage: string;
  readonly origin: string;
  /** `AWS` or `CUSTOMER`. */
  readonly manager: string;
  readonly isMultiRegion: boolean;
  /** Primary and replicas: Region and ARN. */
  readonly members: readonly { readonly region: string; readonly arn: string }[];
}

export type KmsOperation = 'GenerateDataKeyWithoutPlaintext' | 'Decrypt' | 'ReEncrypt' | 'DescribeKey';

export interface GenerateRequest {
  /** Key id, key ARN, alias name or alias ARN. */
  readonly masterKeyId: string;
  readonly keySpec: KeySpec;
  readonly encryptionContext: EncryptionContext;
}

/** What every answer of KMS has. */
export interface Answer {
  /** ARN of the master key that KMS used. */
  readonly masterKeyArn: string;
  readonly requestId: string;
}

export interface GeneratedKey extends Answer {
  readonly wrapped: Buffer;
}

export interface DecryptRequest {
  readonly wrapped: Uint8Array;
  /** Pins the master key; undefined lets KMS find it from the wrapped key. */
  readonly masterKeyArn: string | undefined;
  readonly encryptionContext: EncryptionContext;
}

export interface ReEncryptRequest extends DecryptRequest {
  /** ARN of the new master key. */
  readonly newMasterKeyArn: string;
  /** With KMS's DryRun: returns no wrapped key. */
  readonly isDryRun: boolean;
}

export interface DecryptedKey extends Answer {
  readonly plaintext: Buffer;
  /** Set when another Region than the configured one served: that. */
  readonly servedBy?: string;
}

export interface ReEncryptedKey extends GeneratedKey {
  /** ARN of the master key that it was under. */
  readonly oldMasterKeyArn: string;
}

/**
 * To one Region. A thousand at the smallest quota of symmetric requests a second is what a tenth of a second would hold;
 * ten thousand keys at 20 ms are loaded in two seconds.
 */
export const MOST_CALLS_AT_ONCE = 128;

/** KMS's limit for CiphertextBlob. */
export const MAX_WRAPPED_KEY_BYTES = 6144;
