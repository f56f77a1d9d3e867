import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeySpec } from '../format/sidecar.ts';

/** The two KMS calls of a server in one Region. Errors are thrown unchanged; `classifyKmsFailure` sorts them. */
export interface DataKeyClient {
  readonly region: string;
  /** The destination of the calls for messages: the Region and, if set, the endpoint. */
  readonly description: string;
  /**
   * Starts to look for credentials and to connect, for the first call. Never throws: that call reports what failed.
   * Missing: there is nothing to do ahead.
   */
  prepare?(): void;
  /** GenerateDataKeyWithoutPlaintext. */
  generateWrappedKey(request: GenerateRequest, signal: AbortSignal): Promise<GeneratedKey>;
  /** Decrypt. The caller owns the plaintext and wipes it. */
  decrypt(request: DecryptRequest, signal: AbortSignal): Promise<DecryptedKey>;
  /** Decrypt with DryRun: returns when it would succeed, throws what it would throw. */
  probe(request: DecryptRequest, signal: AbortSignal): Promise<Answer>;
}

/** The calls that wrap existing data keys, with an operator's identity: a server's does not need them. */
export interface OperatorClient extends DataKeyClient {
  /** DescribeKey: returns the ARN of a key that an alias or id names. */
  describeKey(keyId: string, signal: AbortSignal): Promise<Pick<MasterKey, 'arn'>>;
  /** ReEncrypt, under the same encryption context. */
  reEncrypt(request: ReEncryptRequest, signal: AbortSignal): Promise<ReEncryptedKey>;
  /** Encrypt of a data key that exists already. The caller owns the plaintext and wipes it. */
  encrypt(request: EncryptRequest, signal: AbortSignal): Promise<GeneratedKey>;
  /** Resolves if KMS would permit both under this context, which it is asked by DryRun. */
  rehearseEncrypt(request: Omit<EncryptRequest, 'plaintext'>, signal: AbortSignal): Promise<void>;
}

export interface KmsClient extends DataKeyClient {
  /** DescribeKey; throws when the server's identity is denied, which is permitted. */
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
  /** Region and ARN of the primary key and its replicas. */
  readonly members: readonly { readonly region: string; readonly arn: string }[];
}

export type KmsOperation = 'GenerateDataKeyWithoutPlaintext' | 'Decrypt' | 'ReEncrypt' | 'Encrypt' | 'DescribeKey';

export interface GenerateRequest {
  /** Key id, key ARN, alias name or alias ARN. */
  readonly masterKeyId: string;
  readonly keySpec: KeySpec;
  readonly encryptionContext: EncryptionContext;
}

export interface EncryptRequest {
  /** Key id, key ARN, alias name or alias ARN. */
  readonly masterKeyId: string;
  /** The data key, 16, 24 or 32 bytes. */
  readonly plaintext: Uint8Array;
  readonly encryptionContext: EncryptionContext;
}

/** The common part of KMS's answers. */
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
  /** True: uses KMS's DryRun, and returns no wrapped key. */
  readonly isDryRun: boolean;
}

export interface DecryptedKey extends Answer {
  readonly plaintext: Buffer;
  /** The Region that served, if it was not the configured one. */
  readonly servedBy?: string;
}

export interface ReEncryptedKey extends GeneratedKey {
  /** ARN of the previous master key. */
  readonly oldMasterKeyArn: string;
}

/** Concurrent calls to one Region, wherever it is; `CallLimiter` says how many there are near it. */
export const MOST_CALLS_AT_ONCE = 256;
