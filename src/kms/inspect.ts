import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeySpec } from '../format/sidecar.ts';
import type { KmsClient, MasterKey, OperatorClient } from './client.ts';

/** The sources of an identity; none of it is secret. */
export interface CredentialSummary {
  /** The AWS SDK's marks for the sources that took part, such as CREDENTIALS_PROFILE. */
  readonly marks: readonly string[];
  /** The last four characters, enough to distinguish keys. */
  readonly accessKeyEnd: string;
  readonly expiresMs: number | undefined;
}

/** The answer to an unsigned request. */
export interface Reached {
  /** The service's clock, whole seconds; undefined when the answer had no date. */
  readonly dateMs: number | undefined;
  /** This machine's clock when the answer arrived, in milliseconds since 1970. */
  readonly receivedMs: number;
  readonly requestId: string;
  readonly status: number;
}

export interface Rotation {
  readonly isEnabled: boolean;
  readonly days: number | undefined;
}

/** The last successful cryptographic operation in one Region. */
export interface LastUse {
  readonly operation: string;
  /** Undefined: none since the tracking began. */
  readonly usedMs: number | undefined;
  readonly trackedSinceMs: number | undefined;
}

/** Operations that support DryRun. */
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
  /** Undefined: KMS checks the permission only. */
  readonly wrapped: Uint8Array | undefined;
  /** For CreateGrant: a principal that exists. */
  readonly principal: string;
}

/**
 * KMS for commands: a server's client, the calls that wrap existing keys, and read-only calls of KMS and STS. Errors are thrown
 * unchanged; `classifyKmsFailure` sorts them.
 */
export interface KmsInspector extends KmsClient, OperatorClient {
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** The name of the endpoint's source. */
  readonly endpointFrom: string;
  /** Sends an unsigned request, to test for any identity whether KMS answers. */
  reach(signal: AbortSignal): Promise<Reached>;
  credentials(): Promise<CredentialSummary>;
  /** ARN of the identity. */
  callerIdentity(signal: AbortSignal): Promise<string>;
  describeKey(keyId: string, signal: AbortSignal): Promise<MasterKey>;
  rotation(keyArn: string, signal: AbortSignal): Promise<Rotation>;
  lastUse(keyArn: string, signal: AbortSignal): Promise<LastUse>;
  keyPolicy(keyArn: string, signal: AbortSignal): Promise<string>;
  /** Resolves if KMS would permit the operation. */
  dryRun(request: DryRun, signal: AbortSignal): Promise<void>;
  /** The same connection in another Region; undefined: the endpoint is derived from this one. */
  inRegion(region: string, endpointUrl?: string): KmsInspector;
}
