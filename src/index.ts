/**
 * The TypeScript API: key directories, wrapped keys and AWS KMS as the plugin's agent handles them. It installs no
 * handler, changes no variable of the process, and does not keep it alive. Codes of errors and groups of failures may
 * be added in later releases.
 */
export type { CallOptions } from './api/calls.ts';
export { type KeyListing, type KeyStore, openKeyStore, type Sidecar, type StoredKey } from './api/key-store.ts';
export {
  type DataKey,
  type KeyFailure,
  type Keyring,
  type KeyringOptions,
  type LogLine,
  openKeyring,
} from './api/keyring.ts';
export {
  createKms,
  type DecryptedKey,
  type DecryptRequest,
  type GeneratedKey,
  type GenerateRequest,
  type Kms,
  type KmsOptions,
  type KmsRegion,
  type MasterKey,
} from './api/kms.ts';
export type { EncryptionAlgorithm, EncryptionContext, KeyName, KeySpec } from './api/names.ts';
export { keyCheckValue } from './bytes.ts';
export { ERROR_CODES, type ErrorCode, KeyError, type KeyErrorOptions } from './errors.ts';
export type { FailureGroup, FailureKind, FailureRow, KmsFailure, RetryRule } from './kms-failure.ts';
