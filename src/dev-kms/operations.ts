import { createAlias, deleteAlias, listAliases, updateAlias } from './alias-operations.ts';
import type { Operation } from './call.ts';
import { decrypt, encrypt, generateDataKey, generateDataKeyWithoutPlaintext, reEncrypt } from './data-operations.ts';
import {
  cancelKeyDeletion,
  createKey,
  describeKey,
  disableKey,
  enableKey,
  listKeys,
  replicateKey,
  scheduleKeyDeletion,
} from './key-operations.ts';
import { getKeyLastUsage } from './last-use.ts';
import {
  createGrant,
  disableKeyRotation,
  enableKeyRotation,
  getKeyPolicy,
  getKeyRotationStatus,
} from './policy-operations.ts';

/** Every operation of the embedded KMS under AWS's name for it. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ['CancelKeyDeletion', { changes: true, run: cancelKeyDeletion }],
  ['CreateAlias', { changes: true, run: createAlias }],
  ['CreateGrant', { changes: false, run: createGrant }],
  ['CreateKey', { changes: true, run: createKey }],
  ['Decrypt', { changes: false, run: decrypt }],
  ['DeleteAlias', { changes: true, run: deleteAlias }],
  ['DescribeKey', { changes: false, run: describeKey }],
  ['DisableKey', { changes: true, run: disableKey }],
  ['DisableKeyRotation', { changes: true, run: disableKeyRotation }],
  ['EnableKey', { changes: true, run: enableKey }],
  ['EnableKeyRotation', { changes: true, run: enableKeyRotation }],
  ['Encrypt', { changes: false, run: encrypt }],
  ['GenerateDataKey', { changes: false, run: generateDataKey }],
  ['GenerateDataKeyWithoutPlaintext', { changes: false, run: generateDataKeyWithoutPlaintext }],
  ['GetKeyLastUsage', { changes: false, run: getKeyLastUsage }],
  ['GetKeyPolicy', { changes: false, run: getKeyPolicy }],
  ['GetKeyRotationStatus', { changes: false, run: getKeyRotationStatus }],
  ['ListAliases', { changes: false, run: listAliases }],
  ['ListKeys', { changes: false, run: listKeys }],
  ['ReEncrypt', { changes: false, run: reEncrypt }],
  ['ReplicateKey', { changes: true, run: replicateKey }],
  ['ScheduleKeyDeletion', { changes: true, run: scheduleKeyDeletion }],
  ['UpdateAlias', { changes: true, run: updateAlias }],
]);
