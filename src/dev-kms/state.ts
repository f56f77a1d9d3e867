import { KeyError } from '../errors.ts';
import { REGION } from '../format/region.ts';
import { isRecord, type Tag } from './members.ts';

/** Everything the embedded KMS knows, as plain JSON. Key material lies in it unprotected. */
export interface KmsState {
  readonly format: 1;
  /** Twelve digits. */
  readonly accountId: string;
  readonly keys: KeyRecord[];
  readonly aliases: AliasRecord[];
}

/** One key in one Region. Replicas of a multi-Region key are records of their own: only id and material are shared. */
export interface KeyRecord {
  readonly region: string;
  readonly keyId: string;
  /** The Region of the primary key; null for a single-Region key. */
  readonly primaryRegion: string | null;
  readonly description: string;
  readonly policy: string | null;
  readonly tags: readonly Tag[];
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  enabled: boolean;
  deletion: ScheduledDeletion | null;
  /** Days between automatic rotations, as EnableKeyRotation set them; null: none. This KMS never rotates. */
  rotationDays: number | null;
  readonly material: KeyMaterial;
}

export interface ScheduledDeletion {
  readonly windowDays: number;
  /** Milliseconds since 1970; null while a primary key waits for its replicas to be deleted. */
  readonly at: number | null;
}

export interface KeyMaterial {
  /** 64 random hex digits; a hash of the key would help to recognise it. */
  readonly id: string;
  /** 32 bytes, base64. */
  readonly key: string;
}

export interface AliasRecord {
  readonly region: string;
  /** With its prefix: `alias/…`. */
  readonly name: string;
  targetKeyId: string;
  readonly createdAt: number;
  updatedAt: number;
}

/** Storage for the state. `change` is permanent before it returns, or throws and leaves the state as it was. */
export interface StateKeeper {
  /** @throws KeyError STORE_UNAVAILABLE, KEY_FILE_CORRUPT */
  read(): KmsState;
  /** @throws KeyError STORE_UNAVAILABLE, KEY_FILE_CORRUPT, and whatever `apply` throws */
  change<T>(apply: (state: KmsState) => T): T;
}

/** AWS's documentation uses this account id, so nobody mistakes these ARNs for their own. */
export const DEFAULT_ACCOUNT_ID = '111122223333';

export function emptyState(accountId: string = DEFAULT_ACCOUNT_ID): KmsState {
  if (!/^[0-9]{12}$/.test(accountId)) {
    throw new KeyError('BAD_OPTION', `account id: expected 12 digits, got "${accountId}"`);
  }
  return { format: 1, accountId, keys: [], aliases: [] };
}

/** A state kept in memory, for the lifetime of the process. */
export function memoryState(initial: KmsState = emptyState()): StateKeeper {
  let current = initial;
  return {
    read: () => current,
    change(apply) {
      const next = structuredClone(current);
      const result = apply(next);
      current = next;
      return result;
    },
  };
}

/**
 * Parses a state from untrusted JSON.
 * @throws KeyError KEY_FILE_CORRUPT, naming `source` and the first member that is wrong, never its value
 */
export function parseState(json: unknown, source: string): KmsState {
  const root = record(json, 'state', source);
  if (root['format'] !== 1) throw corrupt(source, '"format" expected 1');
  const accountId = text(root['accountId'], 'accountId', /^[0-9]{12}$/, source);
  const keys = list(root['keys'], 'keys', source).map((entry, index) => parseKey(entry, `keys[${index}]`, source));
  const aliases = list(root['aliases'], 'aliases', source).map((entry, index) =>
    parseAlias(entry, `aliases[${index}]`, source),
  );
  for (const [index, key] of keys.entries()) {
    if (keys.findIndex((other) => other.region === key.region && other.keyId === key.keyId) !== index) {
      throw corrupt(source, `keys[${index}] is there twice`);
    }
  }
  for (const [index, alias] of aliases.entries()) {
    if (aliases.findIndex((other) => other.region === alias.region && other.name === alias.name) !== index) {
      throw corrupt(source, `aliases[${index}] is there twice`);
    }
  }
  return { format: 1, accountId, keys, aliases };
}

function parseKey(json: unknown, path: string, source: string): KeyRecord {
  const entry = record(json, path, source);
  const material = record(entry['material'], `${path}.material`, source);
  const key = text(material['key'], `${path}.material.key`, /^[A-Za-z0-9+/]{43}=$/, source);
  const { enabled, primaryRegion, policy, deletion } = entry;
  // Absent in states of earlier releases.
  const rotationDays = entry['rotationDays'] ?? null;
  if (typeof enabled !== 'boolean') throw corrupt(source, `"${path}.enabled" expected a boolean`);
  return {
    region: text(entry['region'], `${path}.region`, REGION, source),
    keyId: text(entry['keyId'], `${path}.keyId`, KEY_ID, source),
    primaryRegion: primaryRegion === null ? null : text(primaryRegion, `${path}.primaryRegion`, REGION, source),
    description: text(entry['description'], `${path}.description`, /^/, source),
    policy: policy === null ? null : text(policy, `${path}.policy`, /^/, source),
    tags: list(entry['tags'], `${path}.tags`, source).map((tag, index) =>
      parseTag(tag, `${path}.tags[${index}]`, source),
    ),
    createdAt: time(entry['createdAt'], `${path}.createdAt`, source),
    enabled,
    deletion: deletion === null ? null : parseDeletion(deletion, `${path}.deletion`, source),
    rotationDays: rotationDays === null ? null : time(rotationDays, `${path}.rotationDays`, source),
    material: { id: text(material['id'], `${path}.material.id`, /^[0-9a-f]{64}$/, source), key },
  };
}

function parseDeletion(json: unknown, path: string, source: string): ScheduledDeletion {
  const entry = record(json, path, source);
  return {
    windowDays: time(entry['windowDays'], `${path}.windowDays`, source),
    at: entry['at'] === null ? null : time(entry['at'], `${path}.at`, source),
  };
}

function parseTag(json: unknown, path: string, source: string): Tag {
  const entry = record(json, path, source);
  return {
    TagKey: text(entry['TagKey'], `${path}.TagKey`, /^/, source),
    TagValue: text(entry['TagValue'], `${path}.TagValue`, /^/, source),
  };
}

function parseAlias(json: unknown, path: string, source: string): AliasRecord {
  const entry = record(json, path, source);
  return {
    region: text(entry['region'], `${path}.region`, REGION, source),
    name: text(entry['name'], `${path}.name`, /^alias\/[a-zA-Z0-9/_-]+$/, source),
    targetKeyId: text(entry['targetKeyId'], `${path}.targetKeyId`, KEY_ID, source),
    createdAt: time(entry['createdAt'], `${path}.createdAt`, source),
    updatedAt: time(entry['updatedAt'], `${path}.updatedAt`, source),
  };
}

/** A version 4 UUID as AWS writes it, or a multi-Region key's id. */
export const KEY_ID: RegExp = /^(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|mrk-[0-9a-f]{32})$/;

function record(value: unknown, path: string, source: string): Record<string, unknown> {
  if (!isRecord(value)) throw corrupt(source, `"${path}" expected an object`);
  return value;
}

function list(value: unknown, path: string, source: string): readonly unknown[] {
  if (!Array.isArray(value)) throw corrupt(source, `"${path}" expected an array`);
  return value;
}

function text(value: unknown, path: string, pattern: RegExp, source: string): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw corrupt(source, `"${path}" is malformed`);
  return value;
}

function time(value: unknown, path: string, source: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw corrupt(source, `"${path}" is malformed`);
  return value;
}

export function corrupt(source: string, reason: string, cause?: unknown): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `state file ${source}: ${reason}`, {
    hint: 'it was left as it is; restore it from a copy, or name another file to start with new keys',
    cause,
  });
}
