import type { DataLook } from '../data/look.ts';
import type { CheckId, Report } from '../finding.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { Listing, StoredKey } from '../keystore/store.ts';
import type { MasterKey } from '../kms/client.ts';
import type { KmsInspector, Reached } from '../kms/inspect.ts';
import type { KeptConfiguration } from '../server/key-keeper.ts';
import type { ServerAnswer } from '../server/server-answer.ts';
import type { Adoption } from '../server/service/server-environment.ts';
import type { Surroundings } from '../server/surroundings.ts';

/** One check of one subject. */
export interface Check {
  readonly id: CheckId;
  /** Checks that must have passed: after a failed or skipped one this check is skipped. */
  readonly needs?: readonly CheckId[];
  /** The reason why this configuration does not need the check, or undefined. */
  readonly unneeded?: (configuration: KeptConfiguration) => string | undefined;
  /** The server does not depend on the subject: a check that cannot be carried out is no failure. */
  readonly isOptional?: boolean;
  /** Milliseconds, where the amount of work decides; never less than any other check gets. */
  readonly limitMs?: (examination: Examination) => number;
  readonly run: (examination: Examination, signal: AbortSignal) => Promise<readonly Report[]>;
}

export interface Examination {
  readonly surroundings: Surroundings;
  readonly configuration: KeptConfiguration;
  /** Environment variables of the process that has the keys, as far as this examination uses them. */
  readonly adoption: Adoption;
  /** Connects once, for all checks. */
  readonly kms: () => Promise<KmsInspector>;
  /** Makes one unsigned request, for all checks. */
  readonly reach: (signal: AbortSignal) => Promise<Reached>;
  /** Results of earlier checks. */
  readonly facts: Facts;
}

export interface FoundKey {
  readonly name: KeyName;
  readonly key: StoredKey;
}

export interface Facts {
  /** Mariadbd's own reading of its options. */
  server?: ServerAnswer;
  listing?: Listing;
  /** Keys that the data needs. */
  look?: DataLook;
  stored: readonly FoundKey[];
  /** ARN of the caller; empty when STS did not name one. */
  identity: string;
  masterKey?: MasterKey;
}

export function mockNeedsNoKms({ isMock }: KeptConfiguration): string | undefined {
  return isMock ? 'mock mode: no AWS is used' : undefined;
}

/** The reason why KMS is not asked: mock mode, or an agent whose identity and Region are not known. */
export function kmsIsNotAsked(configuration: KeptConfiguration): string | undefined {
  const isUnseen = configuration.keeper.unseenIdentity !== undefined;
  return mockNeedsNoKms(configuration) ?? (isUnseen ? "the agent's identity is not known: see credentials" : undefined);
}
