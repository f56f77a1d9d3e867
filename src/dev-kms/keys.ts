import { arn, type Call, partition, seconds, userArn } from './call.ts';
import { deniedByResource, invalidState, KmsFault, notFound } from './kms-fault.ts';
import { KEY_ID, type KeyRecord, type KmsState } from './state.ts';

const DAY_MS = 86_400_000;

export function keyArn(call: Pick<Call, 'state'>, key: KeyRecord): string {
  return arn({ region: key.region, state: call.state }, `key/${key.keyId}`);
}

export function findKey(call: Call, keyId: string, region: string = call.region): KeyRecord | undefined {
  return call.state.keys.find((key) => key.region === region && key.keyId === keyId && !isGone(key, call.nowMs));
}

/**
 * The key that a request names by id, key ARN, alias or alias ARN.
 * @throws KmsFault NotFoundException, AccessDeniedException (another account's), InvalidArnException
 */
export function resolveKey(call: Call, name: string, action: string): KeyRecord {
  const resource = localResource(call, name, action);
  if (resource.startsWith('alias/')) return findAliasTarget(call, resource);
  return requireKey(call, resource, name);
}

/** As `resolveKey`, for the operations that take no alias. */
export function resolveKeyOnly(call: Call, name: string, action: string): KeyRecord {
  if (/^(?:arn:[^:]*:kms:[^:]*:[^:]*:)?alias\//.test(name)) {
    throw new KmsFault('InvalidArnException', 'Key Aliases are not supported for this operation.');
  }
  return resolveKey(call, name, action);
}

/** `alias/…` or a bare key id; an ARN must be of this Region and account. */
function localResource(call: Call, name: string, action: string): string {
  if (!name.startsWith('arn:')) return name;
  const [, partitionName, service, region, account, ...rest] = name.split(':');
  const resource = rest.join(':');
  const isKey = resource.startsWith('key/');
  if (service !== 'kms' || account === undefined || (!isKey && !resource.startsWith('alias/'))) {
    // AWS documents the error name; its text is ours.
    throw new KmsFault('InvalidArnException', `Invalid arn ${name}`);
  }
  if (region !== call.region) throw notFound(`Invalid arn ${region}`);
  if (partitionName !== partition(call.region) || account !== call.state.accountId) {
    throw deniedByResource(userArn(call), action);
  }
  return isKey ? resource.slice('key/'.length) : resource;
}

function requireKey(call: Call, keyId: string, asWritten: string): KeyRecord {
  // AWS quotes a bare id in this message, and does not quote the id of an ARN.
  if (!KEY_ID.test(keyId)) throw notFound(`Invalid keyId ${keyId === asWritten ? `'${keyId}'` : keyId}`);
  const key = findKey(call, keyId);
  if (key === undefined) throw notFound(`Key '${arn(call, `key/${keyId}`)}' does not exist`);
  return key;
}

function findAliasTarget(call: Call, name: string): KeyRecord {
  const alias = call.state.aliases.find((entry) => entry.region === call.region && entry.name === name);
  const key = alias === undefined ? undefined : findKey(call, alias.targetKeyId);
  if (key === undefined) throw aliasNotFound(call, name);
  return key;
}

export function aliasNotFound(call: Call, name: string): KmsFault {
  return notFound(`Alias ${arn(call, name)} is not found.`);
}

/** @throws KmsFault DisabledException, KMSInvalidStateException */
export function requireUsable(call: Call, key: KeyRecord): void {
  requireNotPendingDeletion(call, key);
  if (!key.enabled) throw new KmsFault('DisabledException', `${keyArn(call, key)} is disabled.`);
}

/** @throws KmsFault KMSInvalidStateException */
export function requireNotPendingDeletion(call: Call, key: KeyRecord): void {
  if (key.deletion === null) return;
  const what = key.deletion.at === null ? 'is pending replica deletion' : 'is pending deletion';
  throw invalidState(`${keyArn(call, key)} ${what}.`);
}

function isGone(key: KeyRecord, nowMs: number): boolean {
  return key.deletion !== null && key.deletion.at !== null && key.deletion.at <= nowMs;
}

/**
 * Deletes keys whose deletion date has come, with their aliases, and starts the waiting period of a primary key whose
 * replicas are gone.
 */
export function sweep(state: KmsState, nowMs: number): void {
  for (let index = state.keys.length - 1; index >= 0; index -= 1) {
    const key = state.keys[index];
    if (key === undefined || !isGone(key, nowMs)) continue;
    state.keys.splice(index, 1);
    const kept = state.aliases.filter((alias) => alias.region !== key.region || alias.targetKeyId !== key.keyId);
    state.aliases.splice(0, state.aliases.length, ...kept);
  }
  for (const key of state.keys) {
    if (key.deletion === null || key.deletion.at !== null || replicasOf(state, key).length > 0) continue;
    key.deletion = { windowDays: key.deletion.windowDays, at: nowMs + key.deletion.windowDays * DAY_MS };
  }
}

export function needsSweep(state: KmsState, nowMs: number): boolean {
  return state.keys.some(
    (key) =>
      isGone(key, nowMs) || (key.deletion !== null && key.deletion.at === null && replicasOf(state, key).length === 0),
  );
}

export function isPrimary(key: KeyRecord): boolean {
  return key.primaryRegion === key.region;
}

export function replicasOf(state: KmsState, key: KeyRecord): readonly KeyRecord[] {
  return state.keys.filter((other) => other.keyId === key.keyId && other.region !== key.primaryRegion);
}

export function keyState(key: KeyRecord): string {
  if (key.deletion !== null) return key.deletion.at === null ? 'PendingReplicaDeletion' : 'PendingDeletion';
  return key.enabled ? 'Enabled' : 'Disabled';
}

/** `KeyMetadata` of DescribeKey, CreateKey and ReplicateKey. */
export function metadata(call: Call, key: KeyRecord): Record<string, unknown> {
  return {
    AWSAccountId: call.state.accountId,
    KeyId: key.keyId,
    Arn: keyArn(call, key),
    CreationDate: seconds(key.createdAt),
    Enabled: key.enabled && key.deletion === null,
    Description: key.description,
    KeyUsage: 'ENCRYPT_DECRYPT',
    KeyState: keyState(key),
    ...deletionMetadata(key),
    Origin: 'AWS_KMS',
    KeyManager: 'CUSTOMER',
    CustomerMasterKeySpec: 'SYMMETRIC_DEFAULT',
    KeySpec: 'SYMMETRIC_DEFAULT',
    EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'],
    MultiRegion: key.primaryRegion !== null,
    ...multiRegionMetadata(call, key),
    CurrentKeyMaterialId: key.material.id,
  };
}

function deletionMetadata(key: KeyRecord): Record<string, unknown> {
  if (key.deletion === null) return {};
  return key.deletion.at === null
    ? { PendingDeletionWindowInDays: key.deletion.windowDays }
    : { DeletionDate: seconds(key.deletion.at) };
}

function multiRegionMetadata(call: Call, key: KeyRecord): Record<string, unknown> {
  const { primaryRegion } = key;
  if (primaryRegion === null) return {};
  const member = (region: string) => ({ Arn: arn({ region, state: call.state }, `key/${key.keyId}`), Region: region });
  return {
    MultiRegionConfiguration: {
      MultiRegionKeyType: isPrimary(key) ? 'PRIMARY' : 'REPLICA',
      PrimaryKey: member(primaryRegion),
      ReplicaKeys: replicasOf(call.state, key).map((replica) => member(replica.region)),
    },
  };
}
