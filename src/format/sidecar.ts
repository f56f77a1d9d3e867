import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from './encryption-algorithm.ts';
import {
  algorithmOf,
  type EncryptionContext,
  isEmptyContext,
  KEY_ID_PAIR,
  KEY_VERSION_PAIR,
} from './encryption-context.ts';
import { contextOf, objectOf, parseJson, type Refuse, textField } from './json-fields.ts';
import { type KeyName, sidecarFileName } from './key-file-name.ts';
import { readBack } from './read-back.ts';

/** KMS's KeySpec for data keys. */
export const KEY_SPECS = ['AES_128', 'AES_256'] as const;
export type KeySpec = (typeof KEY_SPECS)[number];

/** The lengths that a stored data key may have: KMS makes none of 24 bytes, and another key source may have. */
export const DATA_KEY_SPECS = [...KEY_SPECS, 'AES_192'] as const;
export type DataKeySpec = (typeof DATA_KEY_SPECS)[number];

const LENGTHS = { AES_128: 16, AES_192: 24, AES_256: 32 } as const;

/** Returns the length in bytes of a data key of that KeySpec. */
export function keySpecLength(spec: DataKeySpec): 16 | 24 | 32 {
  return LENGTHS[spec];
}

/** The facts that KMS reported when it wrapped the key. */
export interface WrappedFacts {
  /** ARN of the master key, as KMS answered it: never an alias. */
  readonly masterKeyArn: string;
  /** SHA-256 of the wrapped key's bytes, lower-case hex. */
  readonly wrappedSha256: string;
  /** Request id of the GenerateDataKeyWithoutPlaintext, ReEncrypt or Encrypt call, for CloudTrail; empty when unknown. */
  readonly requestId: string;
}

/** The facts about a data key and the bytes that wrap it. None is secret. */
export interface Sidecar extends WrappedFacts {
  readonly keySpec: DataKeySpec;
  /** ISO 8601, UTC; in a sidecar that was added later, the time when the key file was written. */
  readonly created: string;
  /** The pairs that the wrapped key is bound to; empty for none. They also tell the algorithm: see `algorithmOf`. */
  readonly encryptionContext: EncryptionContext;
  /**
   * Verifies that a data key is the one that was created (`keyCheckValue`); undefined in sidecars of early releases.
   */
  readonly keyCheckValue: string | undefined;
  /** The facts about the previous bytes, under another master key. They apply until the key file has been replaced. */
  readonly replaces?: WrappedFacts | undefined;
}

/** Returns the sidecar's facts for wrapped bytes with this checksum; undefined: it describes other bytes. */
export function sidecarOfBytes(sidecar: Sidecar, sha256: string): Sidecar | undefined {
  if (sidecar.wrappedSha256 === sha256) return sidecar;
  const { replaces, ...facts } = sidecar;
  return replaces?.wrappedSha256 === sha256 ? { ...facts, ...replaces } : undefined;
}

/** A group of wrapped keys that a policy may treat differently: their master key and the names in their contexts. */
export function policyGroup({ masterKeyArn, encryptionContext }: Sidecar): string {
  return [masterKeyArn, ...Object.keys(encryptionContext).sort()].join(' ');
}

const FORMAT = 1;
const MAX_REQUEST_ID = 256;
/** The most bytes that are read; a real sidecar has a few hundred. */
export const MAX_SIDECAR_BYTES = 65_536;

/** @throws KeyError KMS_BAD_ANSWER: `parseSidecar` would refuse it */
export function formatSidecar(name: KeyName, sidecar: Sidecar): string {
  return readBack(format(name, sidecar), (text) => {
    if (Buffer.byteLength(text) > MAX_SIDECAR_BYTES) throw corrupt(name, 'it is too long');
    parseSidecar(name, text);
  });
}

/**
 * A request id that does not look like AWS's is shortened: it only helps to find a call in CloudTrail, and must not
 * cost a key.
 */
function writtenFacts({ masterKeyArn, wrappedSha256, requestId }: WrappedFacts): WrappedFacts {
  const cut = requestId.replace(/[^ -~]/g, '?').slice(0, MAX_REQUEST_ID);
  return { masterKeyArn, wrappedSha256, requestId: cut };
}

function format(name: KeyName, { encryptionContext, replaces, ...facts }: Sidecar): string {
  const encryptionAlgorithm = algorithmOf(encryptionContext);
  const fields = {
    format: FORMAT,
    keyId: name.id,
    keyVersion: name.version,
    ...facts,
    ...writtenFacts(facts),
    ...(replaces === undefined ? {} : { replaces: writtenFacts(replaces) }),
    ...(encryptionAlgorithm === 'AES_CBC' ? {} : { encryptionAlgorithm }),
    ...(isEmptyContext(encryptionContext) ? {} : { encryptionContext }),
  };
  return `${JSON.stringify(fields, null, 2)}\n`;
}

/** Unknown fields are ignored, because later releases add some. @throws KeyError KEY_FILE_CORRUPT, KEY_FILE_SWAPPED */
export function parseSidecar(name: KeyName, text: string): Sidecar {
  const refuse: Refuse = (reason, cause) => corrupt(name, reason, cause);
  const fields = objectOf(parseJson(text, 'it is not JSON', refuse), 'it is no JSON object', refuse);
  if (fields['format'] !== FORMAT) throw corrupt(name, `"format" expected ${FORMAT}, got ${String(fields['format'])}`);
  if (fields['keyId'] !== name.id || fields['keyVersion'] !== name.version) {
    throw swapped(name, `it describes key ${String(fields['keyId'])} version ${String(fields['keyVersion'])}`);
  }
  const written = textField(fields, 'keySpec', /^AES_(?:128|192|256)$/, refuse);
  const keySpec = DATA_KEY_SPECS.find((spec) => spec === written);
  if (keySpec === undefined) throw corrupt(name, '"keySpec" is unknown');
  const encryptionContext = contextField(name, fields);
  checkAlgorithm(name, fields, encryptionContext);
  const { replaces } = fields;
  return {
    ...wrappedFacts(fields, refuse),
    keySpec,
    created: textField(fields, 'created', /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, refuse),
    encryptionContext,
    keyCheckValue:
      fields['keyCheckValue'] === undefined ? undefined : textField(fields, 'keyCheckValue', /^[0-9a-f]{16}$/, refuse),
    ...(replaces === undefined
      ? {}
      : { replaces: wrappedFacts(objectOf(replaces, '"replaces" is malformed', refuse), refuse) }),
  };
}

function wrappedFacts(fields: Readonly<Record<string, unknown>>, refuse: Refuse): WrappedFacts {
  return {
    masterKeyArn: textField(fields, 'masterKeyArn', /^arn:[!-~]{1,2048}$/, refuse),
    wrappedSha256: textField(fields, 'wrappedSha256', /^[0-9a-f]{64}$/, refuse),
    requestId: textField(fields, 'requestId', /^[ -~]{0,256}$/, refuse),
  };
}

/** A context that names another key id or version shows that files were swapped. */
function contextField(name: KeyName, fields: Record<string, unknown>): EncryptionContext {
  const value = fields['encryptionContext'];
  if (value === undefined) return {};
  const context = contextOf(value, (reason) => corrupt(name, reason));
  if (context[KEY_ID_PAIR] !== String(name.id) || context[KEY_VERSION_PAIR] !== String(name.version)) {
    const place = `key ${context[KEY_ID_PAIR]} version ${context[KEY_VERSION_PAIR]}`;
    throw swapped(name, `its encryption context binds the key to ${place}`);
  }
  return context;
}

/** KMS authenticates the context only: an algorithm field that contradicts it was edited. */
function checkAlgorithm(name: KeyName, fields: Record<string, unknown>, context: EncryptionContext): void {
  let bound: EncryptionAlgorithm;
  try {
    bound = algorithmOf(context);
  } catch (thrown) {
    throw corrupt(name, toKeyError(thrown).message, thrown);
  }
  const written = fields['encryptionAlgorithm'] ?? 'AES_CBC';
  if (written === bound) return;
  throw corrupt(name, `"encryptionAlgorithm" is ${String(written)}, its encryption context binds the key to ${bound}`);
}

function corrupt(name: KeyName, reason: string, cause?: unknown): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `sidecar ${sidecarFileName(name)}: ${reason}`, {
    cause,
    hint: `restore it from a backup; ${describeLoss(name)}`,
  });
}

function swapped(name: KeyName, reason: string): KeyError {
  return new KeyError('KEY_FILE_SWAPPED', `sidecar ${sidecarFileName(name)}: ${reason}`, {
    hint: 'the files of two keys were mixed up: restore key file and sidecar from a backup',
  });
}

function describeLoss({ id, version }: KeyName): string {
  return `without it key ${id} version ${version} loads when it is bound to what aws_key_management_encryption_context says now, or to nothing`;
}
