import type { DataLook } from '../data/look.ts';
import type { CheckId, Report } from '../finding.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { Listing, StoredKey } from '../keystore/directory.ts';
import type { KmsInspector, MasterKey, Reached } from '../kms/inspect.ts';
import type { Configuration } from '../server/configuration.ts';
import type { ServerAnswer } from '../server/server-answer.ts';
import type { Adoption } from '../server/service/server-environment.ts';
import type { Surroundings } from '../server/surroundings.ts';

/** One look at one thing. */
export interface Check {
  readonly id: CheckId;
  /** It says nothing useful when one of these failed or was skipped. */
  readonly needs?: readonly CheckId[];
  /** Why there is nothing to look at in this configuration, or undefined. */
  readonly unneeded?: (configuration: Configuration) => string | undefined;
  /** The server does not depend on it: when it cannot be done, that is no failure. */
  readonly isOptional?: boolean;
  /** Where what there is to do decides; no other check gets less time for it. */
  readonly limitMs?: (examination: Examination) => number;
  readonly run: (examination: Examination, signal: AbortSignal) => Promise<readonly Report[]>;
}

export interface Examination {
  readonly surroundings: Surroundings;
  readonly configuration: Configuration;
  /** What of the server's environment counts in this examination. */
  readonly adoption: Adoption;
  /** One connection for all checks. */
  readonly kms: () => Promise<KmsInspector>;
  /** One unsigned request for all checks. */
  readonly reach: (signal: AbortSignal) => Promise<Reached>;
  /** What earlier checks found. */
  readonly facts: Facts;
}

export interface FoundKey {
  readonly name: KeyName;
  readonly key: StoredKey;
}

export interface Facts {
  /** What mariadbd makes of its options. */
  server?: ServerAnswer;
  listing?: Listing;
  /** Which keys the data needs. */
  look?: DataLook;
  stored: readonly FoundKey[];
  /** ARN of the caller; empty when STS did not say. */
  identity: string;
  masterKey?: MasterKey;
}

export function mockNeedsNoKms({ isMock }: Configuration): string | undefined {
  return isMock ? 'mock mode: no AWS is used' : undefined;
}
