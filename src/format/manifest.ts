import { createHash } from 'node:crypto';
import { KeyError } from '../errors.ts';
import { isKeyId, isKeyVersion } from '../ids.ts';
import { countVersions, ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from './encryption-algorithm.ts';
import { objectOf, parseJson, textField } from './json-fields.ts';
import type { KeyName } from './key-file-name.ts';
import { readBack } from './read-back.ts';

/** A name that mariadb-backup does not copy into later backups, where the manifest would be out of date. */
export const MANIFEST_FILE = 'mariadb-aws-kms-keys.json';

export interface ManifestKey {
  readonly name: KeyName;
  /** SHA-256 of the key file, lower-case hex. */
  readonly sha256: string;
  /** SHA-256 of the sidecar; undefined when the key has none. */
  readonly sidecarSha256: string | undefined;
  /** The master key that the sidecar names; undefined without a usable sidecar. */
  readonly masterKeyArn: string | undefined;
  /** The algorithm that the sidecar names; undefined without a usable sidecar. */
  readonly encryptionAlgorithm: EncryptionAlgorithm | undefined;
}

/** The list of a backup's key files. It holds no secret. */
export interface Manifest {
  /** ISO 8601, UTC: when the backup was begun, and when keys were last added. */
  readonly created: string;
  readonly updated: string;
  /** Name and release of the program that wrote it. */
  readonly tool: string;
  /** Sorted by name. */
  readonly keys: readonly ManifestKey[];
  /** For a backup without keys: how many of the server's data files were read, none of which was encrypted. */
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

/** Counts the versions as `countVersions` does. */
export function describeVersions({ keys }: Manifest, noun: string): string {
  return countVersions(
    keys.length,
    noun,
    keys.map(({ encryptionAlgorithm }) => encryptionAlgorithm),
  );
}

/** Unknown fields are ignored, but the checksum covers them. @throws KeyError MANIFEST_CORRUPT */
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

/** The SHA-256 of the body as JSON.stringify writes it, without white space. */
function hashOf(body: Readonly<Record<string, unknown>>): string {
  return createHash('sha256').update(JSON.stringify(body)).digest('hex');
}

function corrupt(reason: string, cause?: unknown): KeyError {
  return new KeyError('MANIFEST_CORRUPT', `manifest ${MANIFEST_FILE}: ${reason}`, {
    cause,
    hint: 'take another copy of the backup; or look at the key files yourself, move the manifest away and run backup-keys again',
  });
}
