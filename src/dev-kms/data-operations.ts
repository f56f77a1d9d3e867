import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import { type Answer, authorize, type Call } from './call.ts';
import { open, readHeader, seal } from './ciphertext.ts';
import { findKey, keyArn, requireUsable, resolveKey } from './keys.ts';
import { dryRunSucceeded, foreignCiphertext, incorrectKey, validation } from './kms-fault.ts';
import { recordUse } from './last-use.ts';
import { type EncryptionContext, Members } from './members.ts';
import type { KeyRecord } from './state.ts';

const MAX_PLAINTEXT_BYTES = 4096;
const DATA_KEY_BYTES = { AES_128: 16, AES_256: 32 } as const;
const DATA_KEY_SPECS = ['AES_256', 'AES_128'] as const;
const ALGORITHM = 'SYMMETRIC_DEFAULT';

export function generateDataKey(call: Call, input: unknown): Answer {
  const { key, blob, plaintext } = dataKey(call, input, 'GenerateDataKey');
  return { CiphertextBlob: blob, Plaintext: plaintext, KeyId: keyArn(call, key), KeyMaterialId: key.material.id };
}

export function generateDataKeyWithoutPlaintext(call: Call, input: unknown): Answer {
  const { key, blob, plaintext } = dataKey(call, input, 'GenerateDataKeyWithoutPlaintext');
  plaintext.fill(0);
  return { CiphertextBlob: blob, KeyId: keyArn(call, key), KeyMaterialId: key.material.id };
}

function dataKey(call: Call, input: unknown, action: string) {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  const spec = members.choice('KeySpec', DATA_KEY_SPECS);
  const bytes = members.integer('NumberOfBytes', 1, 1024);
  const context = members.context();
  const dryRun = members.flag('DryRun');
  members.check();
  const key = resolveKey(call, name, action);
  authorize(call, action, keyArn(call, key));
  if ((spec === undefined) === (bytes === undefined)) {
    throw validation('Please specify either number of bytes or key spec.');
  }
  requireUsable(call, key);
  if (dryRun) throw dryRunSucceeded();
  const size = bytes ?? (spec === undefined ? 0 : DATA_KEY_BYTES[spec]);
  const plaintext = call.randomBytes(size);
  const blob = seal(key.keyId, key.material, context, plaintext, call.randomBytes);
  recordUse(call, key, action);
  return { key, plaintext, blob };
}

export function encrypt(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  const plaintext = members.blob('Plaintext', MAX_PLAINTEXT_BYTES, true);
  const context = members.context();
  const dryRun = members.flag('DryRun');
  members.algorithm();
  members.check();
  const key = resolveKey(call, name, 'Encrypt');
  authorize(call, 'Encrypt', keyArn(call, key));
  requireUsable(call, key);
  if (dryRun) throw dryRunSucceeded();
  const blob = seal(key.keyId, key.material, context, plaintext, call.randomBytes);
  recordUse(call, key, 'Encrypt');
  return { CiphertextBlob: blob, KeyId: keyArn(call, key), EncryptionAlgorithm: ALGORITHM };
}

export function decrypt(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.optionalKeyId('KeyId');
  const dryRun = members.flag('DryRun');
  const ignoreCiphertext = dryRun && members.strings('DryRunModifiers').includes('IGNORE_CIPHERTEXT');
  const blob = ignoreCiphertext ? undefined : members.blob('CiphertextBlob', MAX_WRAPPED_KEY_BYTES);
  const context = members.context();
  members.algorithm();
  members.check();
  if (blob === undefined) {
    if (name === undefined) throw validation('KeyId is required when the ciphertext is ignored.');
    const key = resolveKey(call, name, 'Decrypt');
    authorize(call, 'Decrypt', keyArn(call, key));
    requireUsable(call, key);
    throw dryRunSucceeded();
  }
  const { key, plaintext } = unseal(call, blob, name, context, 'Decrypt');
  if (dryRun) {
    plaintext.fill(0);
    throw dryRunSucceeded();
  }
  recordUse(call, key, 'Decrypt');
  return {
    KeyId: keyArn(call, key),
    Plaintext: plaintext,
    EncryptionAlgorithm: ALGORITHM,
    KeyMaterialId: key.material.id,
  };
}

export function reEncrypt(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const blob = members.blob('CiphertextBlob', MAX_WRAPPED_KEY_BYTES);
  const sourceName = members.optionalKeyId('SourceKeyId');
  const sourceContext = members.context('SourceEncryptionContext');
  const name = members.keyId('DestinationKeyId');
  const context = members.context('DestinationEncryptionContext');
  const dryRun = members.flag('DryRun');
  members.algorithm('SourceEncryptionAlgorithm');
  members.algorithm('DestinationEncryptionAlgorithm');
  members.check();
  const { key: source, plaintext } = unseal(call, blob, sourceName, sourceContext, 'ReEncryptFrom');
  try {
    const key = resolveKey(call, name, 'ReEncryptTo');
    authorize(call, 'ReEncryptTo', keyArn(call, key));
    requireUsable(call, key);
    if (dryRun) throw dryRunSucceeded();
    const sealed = seal(key.keyId, key.material, context, plaintext, call.randomBytes);
    for (const used of [source, key]) recordUse(call, used, 'ReEncrypt');
    return {
      CiphertextBlob: sealed,
      SourceKeyId: keyArn(call, source),
      KeyId: keyArn(call, key),
      SourceEncryptionAlgorithm: ALGORITHM,
      DestinationEncryptionAlgorithm: ALGORITHM,
      SourceKeyMaterialId: source.material.id,
      DestinationKeyMaterialId: key.material.id,
    };
  } finally {
    plaintext.fill(0);
  }
}

function unseal(
  call: Call,
  blob: Uint8Array,
  name: string | undefined,
  context: EncryptionContext,
  action: string,
): { readonly key: KeyRecord; readonly plaintext: Buffer } {
  const { keyId } = readHeader(blob);
  if (name !== undefined && resolveKey(call, name, action).keyId !== keyId) throw incorrectKey();
  const key = findKey(call, keyId);
  if (key === undefined) throw foreignCiphertext();
  authorize(call, action, keyArn(call, key));
  requireUsable(call, key);
  return { key, plaintext: open(blob, key.material, context) };
}
