import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeySpec } from '../format/sidecar.ts';
import type { KmsClient, MasterKey, ReEncryptClient } from './client.ts';

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

/**
 * KMS for commands: the client that a server has, what moves keys, and looks at KMS and STS, which change nothing there.
 * Errors are thrown as they come; `classifyKmsFailure` sorts them.
 */
export interface KmsInspector extends KmsClient, ReEncryptClient {
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** What names the endpoint. */
  readonly endpointFrom: string;
  /** Without a signature: says whether something like KMS answers, whoever asks. */
  reach(signal: AbortSignal): Promise<Reached>;
  credentials(): Promise<CredentialSummary>;
  /** ARN of the identity. */
  callerIdentity(signal: AbortSignal): Promise<string>;
  describeKey(keyId: string, signal: AbortSignal): Promise<MasterKey>;
  rotation(keyArn: string, signal: AbortSignal): Promise<Rotation>;
  lastUse(keyArn: string, signal: AbortSignal): Promise<LastUse>;
  keyPolicy(keyArn: string, signal: AbortSignal): Promise<string>;
  /** Resolves when KMS would do it. */
  dryRun(request: DryRun, signal: AbortSignal): Promise<void>;
  /** The same surroundings, another Region; undefined: the endpoint that follows from this one. */
  inRegion(region: string, endpointUrl?: string): KmsInspector;
}
