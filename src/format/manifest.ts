import { createHash } from 'node:crypto';
import { KeyError } from '../errors.ts';
import { isKeyId, isKeyVersion } from '../ids.ts';
import { countVersions, ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from './encryption-algorithm.ts';
import { objectOf, parseJson, textField } from './json-fields.ts';
import type { KeyName } from './key-file-name.ts';
import { readBack } from './read-back.ts';

/** Not a name that mariadb-backup would carry into later backups, where it would be out of date. */
export const MANIFEST_FILE = 'mariadb-aws-kms-keys.json';

export interface ManifestKey {
  readonly name: KeyName;
  /** SHA-256 of the key file, lower-case hex. */
  readonly sha256: string;
  /** Of its sidecar; undefined when it has none. */
  readonly sidecarSha256: string | undefined;
  /** From the sidecar, when that is of use. */
  readonly masterKeyArn: string | undefined;
  /** Likewise. */
  readonly encryptionAlgorithm: EncryptionAlgorithm | undefined;
}

/** Which key files a backup has. Nothing in it is secret. */
export interface Manifest {
  /** ISO 8601, UTC: when the backup was begun, and when it last got keys. */
  readonly created: string;
  readonly updated: string;
  /** Name and release of the program that wrote it. */
  readonly tool: string;
  /** In the order of their names. */
  readonly keys: readonly ManifestKey[];
  /** Without keys: how many data files of the server were looked at, none of which was encrypted. */
  readonly unencryptedFiles?: number | undefined;
}

const FORMAT = 1;
const HASH = /^[0-9a-f]{64}$/;

/** @throws KeyError KMS_BAD_ANSWER: `parseManifest` would refuse it */
export function formatManifest(manifest: Manifest): string {
  return readBack(format(manifest), (text) => {
    parseManifest(text);
  });
}

function format({ created, updated, tool, keys, unencryptedFiles }: Manifest): string {
  const body = {
    format: FORMAT,
    created,
    updated,
    tool,
    ...(unencryptedFiles === undefined ? {} : { unencryptedFiles }),
    keys: keys.map(({ name, encryptionAlgorithm, ...facts }) => ({
      keyId: name.id,
      keyVersion: name.version,
      ...facts,
      ...(encryptionAlgorithm === 'AES_CBC' ? {} : { encryptionAlgorithm }),
    })),
  };
  return `${JSON.stringify({ ...body, sha256: hashOf(body) }, null, 2)}\n`;
}

/** As `countVersions` does. */
export function describeVersions({ keys }: Manifest, noun: string): string {
  return countVersions(
    keys.length,
    noun,
    keys.map(({ encryptionAlgorithm }) => encryptionAlgorithm),
  );
}

/**
 * Unknown fields are kept out, not refused, and counted in the checksum.
 * @throws KeyError MANIFEST_CORRUPT
 */
export function parseManifest(text: string): Manifest {
  const { sha256, ...body } = objectOf(
    parseJson(text, 'it is not JSON, or was cut off', corrupt),
    'it is no JSON object',
    corrupt,
  );
  if (body['format'] !== FORMAT) throw corrupt(`"format" expected ${FORMAT}, got ${String(body['format'])}`);
  if (sha256 !== hashOf(body)) throw corrupt('its own checksum "sha256" is not that of its content');
  const keys: unknown = body['keys'];
  if (!Array.isArray(keys)) throw corrupt('"keys" is no list');
  const unencryptedFiles: unknown = body['unencryptedFiles'];
  if (unencryptedFiles !== undefined && !isCount(unencryptedFiles)) {
    throw corrupt(`"unencryptedFiles" expected a number of files, got ${String(unencryptedFiles)}`);
  }
  return {
    created: textField(body, 'created', /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, corrupt),
    updated: textField(body, 'updated', /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, corrupt),
    tool: textField(body, 'tool', /^[ -~]{1,100}$/, corrupt),
    keys: keys.map(parseKey),
    ...(unencryptedFiles === undefined ? {} : { unencryptedFiles }),
  };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function parseKey(value: unknown): ManifestKey {
  const key = objectOf(value, 'an entry of "keys" is no JSON object', corrupt);
  const { keyId: id, keyVersion: version } = key;
  if (typeof id !== 'number' || typeof version !== 'number' || !isKeyId(id) || !isKeyVersion(version)) {
    throw corrupt(`"keyId" and "keyVersion" expected a key, got ${String(id)} and ${String(version)}`);
  }
  const masterKeyArn =
    key['masterKeyArn'] === undefined ? undefined : textField(key, 'masterKeyArn', /^arn:[!-~]{1,2048}$/, corrupt);
  const algorithm = key['encryptionAlgorithm'] ?? (masterKeyArn && 'AES_CBC');
  const encryptionAlgorithm = ENCRYPTION_ALGORITHMS.find((known) => known === algorithm);
  if (encryptionAlgorithm !== algorithm) throw corrupt(`"encryptionAlgorithm" is unknown: ${String(algorithm)}`);
  return {
    name: { id, version },
    sha256: textField(key, 'sha256', HASH, corrupt),
    sidecarSha256: key['sidecarSha256'] === undefined ? undefined : textField(key, 'sidecarSha256', HASH, corrupt),
    masterKeyArn,
    encryptionAlgorithm,
  };
}

/** Of the text that JSON.stringify makes of it, without white space. */
function hashOf(body: Readonly<Record<string, unknown>>): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

function corrupt(reason: string, cause?: unknown): KeyError {
  return new KeyError('MANIFEST_CORRUPT', `manifest ${MANIFEST_FILE}: ${reason}`, {
    cause,
    hint: 'take another copy of the backup; or look at the key files yourself, move the manifest away and run backup-keys again',
  });
}
