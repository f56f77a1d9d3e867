import { type Answer, authorize, type Call, partition, seconds } from './call.ts';
import {
  findKey,
  isPrimary,
  keyArn,
  keyState,
  metadata,
  replicasOf,
  requireNotPendingDeletion,
  requireUsable,
  resolveKey,
  resolveKeyOnly,
} from './keys.ts';
import { invalidState, KmsFault, validation } from './kms-fault.ts';
import { Members } from './members.ts';
import { page } from './page.ts';
import type { KeyRecord, ScheduledDeletion } from './state.ts';
import { uuid } from './uuid.ts';

const DAY_MS = 86_400_000;
const KEY_SPECS = [
  'RSA_2048',
  'RSA_3072',
  'RSA_4096',
  'ECC_NIST_P256',
  'ECC_NIST_P384',
  'ECC_NIST_P521',
  'ECC_SECG_P256K1',
  'ECC_NIST_EDWARDS25519',
  'SYMMETRIC_DEFAULT',
  'HMAC_224',
  'HMAC_256',
  'HMAC_384',
  'HMAC_512',
  'SM2',
  'ML_DSA_44',
  'ML_DSA_65',
  'ML_DSA_87',
] as const;
const KEY_USAGES = ['ENCRYPT_DECRYPT', 'SIGN_VERIFY', 'GENERATE_VERIFY_MAC', 'KEY_AGREEMENT'] as const;
const ORIGINS = ['AWS_KMS', 'EXTERNAL', 'AWS_CLOUDHSM', 'EXTERNAL_KEY_STORE'] as const;

export function createKey(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const specs = [members.choice('KeySpec', KEY_SPECS), members.choice('CustomerMasterKeySpec', KEY_SPECS)];
  const usage = members.choice('KeyUsage', KEY_USAGES);
  const origin = members.choice('Origin', ORIGINS);
  const description = members.text('Description', 8192) ?? '';
  const policy = members.text('Policy', 131_072) ?? null;
  const tags = members.tags();
  const multiRegion = members.flag('MultiRegion');
  members.check();
  if (specs.some((spec) => spec !== undefined && spec !== 'SYMMETRIC_DEFAULT')) throw notEmbedded('KeySpec');
  if (usage !== undefined && usage !== 'ENCRYPT_DECRYPT') {
    throw validation(`KeyUsage ${usage} is not compatible with KeySpec SYMMETRIC_DEFAULT`);
  }
  if (origin !== undefined && origin !== 'AWS_KMS') throw notEmbedded('Origin');
  authorize(call, 'CreateKey', '*');
  const key: KeyRecord = {
    region: call.region,
    keyId: newKeyId(call, multiRegion),
    primaryRegion: multiRegion ? call.region : null,
    description,
    policy,
    tags,
    createdAt: call.nowMs,
    enabled: true,
    deletion: null,
    rotationDays: null,
    material: {
      id: Buffer.from(call.randomBytes(32)).toString('hex'),
      key: Buffer.from(call.randomBytes(32)).toString('base64'),
    },
  };
  call.state.keys.push(key);
  return { KeyMetadata: metadata(call, key) };
}

/** AWS answers at once with KeyState `Creating`; here the replica is usable when the call returns. */
export function replicateKey(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  const region = members.region('ReplicaRegion');
  const description = members.text('Description', 8192) ?? '';
  const policy = members.text('Policy', 131_072) ?? null;
  const tags = members.tags();
  members.check();
  const primary = resolveKeyOnly(call, name, 'ReplicateKey');
  const primaryArn = keyArn(call, primary);
  authorize(call, 'ReplicateKey', primaryArn);
  // Error names as documented for ReplicateKey; AWS's texts could not be found.
  if (primary.primaryRegion === null) {
    throw new KmsFault('UnsupportedOperationException', `${primaryArn} is not a multi-Region key.`);
  }
  if (!isPrimary(primary)) {
    throw new KmsFault('UnsupportedOperationException', `${primaryArn} is not a multi-Region primary key.`);
  }
  requireUsable(call, primary);
  if (partition(region) !== partition(call.region)) {
    throw validation('The replica Region must be in the same partition as the primary key.');
  }
  const replica: KeyRecord = {
    ...primary,
    region,
    description,
    policy,
    tags,
    createdAt: call.nowMs,
    enabled: true,
    deletion: null,
  };
  if (findKey(call, primary.keyId, region) !== undefined) {
    throw new KmsFault('AlreadyExistsException', `${keyArn(call, replica)} already exists`);
  }
  call.state.keys.push(replica);
  return { ReplicaKeyMetadata: metadata(call, replica), ReplicaPolicy: policy ?? undefined, ReplicaTags: tags };
}

export function describeKey(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  members.check();
  const key = resolveKey(call, name, 'DescribeKey');
  authorize(call, 'DescribeKey', keyArn(call, key));
  return { KeyMetadata: metadata(call, key) };
}

export function listKeys(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const limit = members.integer('Limit', 1, 1000) ?? 100;
  const marker = members.text('Marker', 1024);
  members.check();
  authorize(call, 'ListKeys', '*');
  const here = call.state.keys.filter((key) => findKey(call, key.keyId) === key);
  const { entries, ...rest } = page(here, (key) => key.keyId, limit, marker);
  return { Keys: entries.map((key) => ({ KeyId: key.keyId, KeyArn: keyArn(call, key) })), ...rest };
}

export function enableKey(call: Call, input: unknown): Answer {
  return setEnabled(call, input, 'EnableKey', true);
}

export function disableKey(call: Call, input: unknown): Answer {
  return setEnabled(call, input, 'DisableKey', false);
}

function setEnabled(call: Call, input: unknown, action: string, enabled: boolean): Answer {
  const key = managedKey(call, input, action);
  requireNotPendingDeletion(call, key);
  key.enabled = enabled;
  return undefined;
}

export function scheduleKeyDeletion(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const windowDays = members.integer('PendingWindowInDays', 7, 30) ?? 30;
  const name = members.keyId('KeyId');
  members.check();
  const key = resolveKeyOnly(call, name, 'ScheduleKeyDeletion');
  authorize(call, 'ScheduleKeyDeletion', keyArn(call, key));
  requireNotPendingDeletion(call, key);
  const waits = isPrimary(key) && replicasOf(call.state, key).length > 0;
  const deletion: ScheduledDeletion = { windowDays, at: waits ? null : call.nowMs + windowDays * DAY_MS };
  key.deletion = deletion;
  return {
    KeyId: keyArn(call, key),
    ...(deletion.at === null ? {} : { DeletionDate: seconds(deletion.at) }),
    KeyState: keyState(key),
    PendingWindowInDays: windowDays,
  };
}

export function cancelKeyDeletion(call: Call, input: unknown): Answer {
  const key = managedKey(call, input, 'CancelKeyDeletion');
  if (key.deletion === null) throw invalidState(`${keyArn(call, key)} is not pending deletion.`);
  key.deletion = null;
  key.enabled = false;
  return { KeyId: keyArn(call, key) };
}

function managedKey(call: Call, input: unknown, action: string): KeyRecord {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  members.check();
  const key = resolveKeyOnly(call, name, action);
  authorize(call, action, keyArn(call, key));
  return key;
}

function newKeyId(call: Call, multiRegion: boolean): string {
  return multiRegion ? `mrk-${Buffer.from(call.randomBytes(16)).toString('hex')}` : uuid(call.randomBytes);
}

function notEmbedded(member: string): KmsFault {
  return new KmsFault(
    'UnsupportedOperationException',
    `the embedded KMS makes only symmetric encryption keys of its own: this ${member} is not supported`,
  );
}
