import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeySpec } from '../format/sidecar.ts';

/** What the project asks of KMS: two calls. Errors are thrown as they come; `classifyKmsFailure` sorts them. */
export interface DataKeyClient {
  /** GenerateDataKeyWithoutPlaintext. */
  generateWrappedKey(request: GenerateRequest, signal: AbortSignal): Promise<GeneratedKey>;
  /** Decrypt. The caller owns the plaintext and wipes it. */
  decrypt(request: DecryptRequest, signal: AbortSignal): Promise<DecryptedKey>;
}

export interface KmsClient extends DataKeyClient {
  /** Decrypt with DryRun: returns when it would succeed, throws what it would throw. */
  probe(request: DecryptRequest, signal: AbortSignal): Promise<void>;
  /** DescribeKey, which the server's identity need not be allowed: throws then. */
  describeMasterKey(arn: string, signal: AbortSignal): Promise<MasterKeyDescription>;
  readonly region: string;
  /** Where the calls go, for messages: Region and, when it was set, the endpoint. */
  readonly description: string;
  close(): void;
}

export interface MasterKeyDescription {
  /** KMS's KeyState: Enabled, Disabled, PendingDeletion, ... */
  readonly state: string;
  readonly deletionDate: Date | undefined;
}

export type KmsOperation = 'GenerateDataKeyWithoutPlaintext' | 'Decrypt';

export interface GenerateRequest {
  /** Key id, key ARN, alias name or alias ARN. */
  readonly masterKeyId: string;
  readonly keySpec: KeySpec;
  readonly encryptionContext: EncryptionContext;
}

export interface GeneratedKey {
  readonly wrapped: Buffer;
  /** ARN of the master key that KMS used. */
  readonly masterKeyArn: string;
  readonly requestId: string;
}

export interface DecryptRequest {
  readonly wrapped: Uint8Array;
  /** Pins the master key; undefined lets KMS find it from the wrapped key. */
  readonly masterKeyArn: string | undefined;
  readonly encryptionContext: EncryptionContext;
}

export interface DecryptedKey {
  readonly plaintext: Buffer;
  readonly masterKeyArn: string;
  readonly requestId: string;
  /** Set when another Region than the configured one served, with the reason. */
  readonly servedBy?: { readonly region: string; readonly because: string };
}

/** KMS's limit for CiphertextBlob. */
export const MAX_WRAPPED_KEY_BYTES = 6144;
