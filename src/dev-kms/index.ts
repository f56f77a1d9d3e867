/** An AWS KMS for trials and tests, in process or on loopback. Not for production: its keys lie unprotected. */

export type { Answer, Caller } from './call.ts';
export type { CallLog, CallRecord } from './call-log.ts';
export type { RandomBytes } from './ciphertext.ts';
export { DEFAULT_REGION, type DevKms, type DevKmsOptions, startDevKms, TEST_ACCESS_KEY } from './dev-kms.ts';
export {
  createEmbeddedKms,
  type DecryptRequest,
  type EmbeddedKms,
  type EmbeddedKmsOptions,
  type GenerateDataKeyRequest,
} from './engine.ts';
export type { ActiveFault, FaultPlan } from './fault-plan.ts';
export { type FaultKind, type FaultRule, parseFaultRule } from './fault-rule.ts';
export { parseFaultText } from './fault-text.ts';
export { type InitialStateOptions, initialState } from './initial-state.ts';
export { KmsFault } from './kms-fault.ts';
export type { EncryptionContext } from './members.ts';
export type { AccessKey } from './sigv4.ts';
export { emptyState, type KmsState, memoryState, type StateKeeper } from './state.ts';
export { openStateFile } from './state-file.ts';
