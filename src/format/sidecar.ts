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

/** Bytes of a data key made with that KeySpec. */
export function keySpecLength(spec: KeySpec): 16 | 32 {
  return spec === 'AES_128' ? 16 : 32;
}

/** What KMS reported when bytes were wrapped. */
export interface WrappedFacts {
  /** ARN of the master key, as KMS answered it: never an alias. */
  readonly masterKeyArn: string;
  /** SHA-256 of the wrapped key's bytes, lower-case hex. */
  readonly wrappedSha256: string;
  /** Request id of the GenerateDataKeyWithoutPlaintext or ReEncrypt call, for CloudTrail; empty when it is not known any more. */
  readonly requestId: string;
}

/** What is known of a data key and of the bytes that wrap it. Nothing in it is secret. */
export interface Sidecar extends WrappedFacts {
  readonly keySpec: KeySpec;
  /** ISO 8601, UTC. Of a sidecar that was added later: when the key file was written. */
  readonly created: string;
  /** The pairs that the wrapped key is bound to; empty for none. They tell its algorithm, too: `algorithmOf`. */
  readonly encryptionContext: EncryptionContext;
  /** Tells whether a data key is the one that was made (`keyCheckValue`); undefined in sidecars of early releases. */
  readonly keyCheckValue: string | undefined;
  /** Of the bytes that were there before these, under another master key. Until the key file follows, they still are. */
  readonly replaces?: WrappedFacts | undefined;
}

/** The sidecar as it speaks of wrapped bytes with this checksum; undefined: it does not. */
export function sidecarOfBytes(sidecar: Sidecar, sha256: string): Sidecar | undefined {
  if (sidecar.wrappedSha256 === sha256) return sidecar;
  const { replaces, ...facts } = sidecar;
  return replaces?.wrappedSha256 === sha256 ? { ...facts, ...replaces } : undefined;
}

/** By what a policy can tell wrapped keys apart: their master key, and the names in their contexts. */
export function policyGroup({ masterKeyArn, encryptionContext }: Sidecar): string {
  return [masterKeyArn, ...Object.keys(encryptionContext).sort()].join(' ');
}

const FORMAT = 1;
const MAX_REQUEST_ID = 256;
/** A sidecar is a few hundred bytes; anything near this is not one. */
export const MAX_SIDECAR_BYTES = 65_536;

/** @throws KeyError KMS_BAD_ANSWER: `parseSidecar` would refuse it */
export function formatSidecar(name: KeyName, sidecar: Sidecar): string {
  return readBack(format(name, sidecar), (text) => {
    if (Buffer.byteLength(text) > MAX_SIDECAR_BYTES) throw corrupt(name, 'it is too long');
    parseSidecar(name, text);
  });
}

/** The request id only helps to find a call in CloudTrail: one that is no request id of AWS is cut, and costs no key. */
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

/**
 * Unknown fields are kept out, not refused: later releases add some.
 * @throws KeyError KEY_FILE_CORRUPT, KEY_FILE_SWAPPED
 */
export function parseSidecar(name: KeyName, text: string): Sidecar {
  const refuse: Refuse = (reason, cause) => corrupt(name, reason, cause);
  const fields = objectOf(parseJson(text, 'it is not JSON', refuse), 'it is no JSON object', refuse);
  if (fields['format'] !== FORMAT) throw corrupt(name, `"format" expected ${FORMAT}, got ${String(fields['format'])}`);
  if (fields['keyId'] !== name.id || fields['keyVersion'] !== name.version) {
    throw swapped(name, `it describes key ${String(fields['keyId'])} version ${String(fields['keyVersion'])}`);
  }
  const written = textField(fields, 'keySpec', /^AES_(128|256)$/, refuse);
  const keySpec = KEY_SPECS.find((spec) => spec === written);
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

/** A context that names another place than the file's tells of a swapped file. */
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

/** KMS vouches for the context only: a field that says something else was edited. */
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
