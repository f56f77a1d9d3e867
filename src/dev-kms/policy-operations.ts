import { type Answer, arn, authorize, type Call } from './call.ts';
import { keyArn, requireNotPendingDeletion, requireUsable, resolveKey, resolveKeyOnly } from './keys.ts';
import { dryRunSucceeded, KmsFault, notFound } from './kms-fault.ts';
import { Members } from './members.ts';
import type { KeyRecord } from './state.ts';

const DEFAULT_ROTATION_DAYS = 365;
const GRANT_OPERATIONS_MAX = 20;

/** Grants are not implemented: the call only checks whether one could be created. */
export function createGrant(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  const operations = members.strings('Operations');
  members.text('GranteePrincipal', 256);
  const dryRun = members.flag('DryRun');
  members.check();
  const key = resolveKeyOnly(call, name, 'CreateGrant');
  authorize(call, 'CreateGrant', keyArn(call, key));
  requireUsable(call, key);
  if (dryRun && operations.length > 0 && operations.length <= GRANT_OPERATIONS_MAX) throw dryRunSucceeded();
  throw new KmsFault('UnsupportedOperationException', 'the embedded KMS knows no grants');
}

/** Returns the policy that CreateKey was given, or AWS's default policy. */
export function getKeyPolicy(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const policyName = members.text('PolicyName', 128) ?? 'default';
  const key = namedKey(call, members, 'GetKeyPolicy');
  if (policyName !== 'default') throw notFound(`No such policy exists`);
  return { Policy: key.policy ?? defaultPolicy(call), PolicyName: policyName };
}

export function getKeyRotationStatus(call: Call, input: unknown): Answer {
  const key = namedKey(call, new Members(input), 'GetKeyRotationStatus');
  return {
    KeyId: keyArn(call, key),
    KeyRotationEnabled: key.rotationDays !== null,
    ...(key.rotationDays === null ? {} : { RotationPeriodInDays: key.rotationDays }),
  };
}

export function enableKeyRotation(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const days = members.integer('RotationPeriodInDays', 90, 2560) ?? DEFAULT_ROTATION_DAYS;
  const key = namedKey(call, members, 'EnableKeyRotation');
  requireUsable(call, key);
  key.rotationDays = days;
  return undefined;
}

export function disableKeyRotation(call: Call, input: unknown): Answer {
  const key = namedKey(call, new Members(input), 'DisableKeyRotation');
  requireNotPendingDeletion(call, key);
  key.rotationDays = null;
  return undefined;
}

function namedKey(call: Call, members: Members, action: string): KeyRecord {
  const name = members.keyId('KeyId');
  members.check();
  const key = resolveKey(call, name, action);
  authorize(call, action, keyArn(call, key));
  return key;
}

function defaultPolicy(call: Call): string {
  const root = arn(call, '')
    .replace(/:kms:[^:]*:/, ':iam::')
    .replace(/:$/, ':root');
  return JSON.stringify(
    {
      Version: '2012-10-17',
      Id: 'key-default-1',
      Statement: [
        {
          Sid: 'Enable IAM User Permissions',
          Effect: 'Allow',
          Principal: { AWS: root },
          Action: 'kms:*',
          Resource: '*',
        },
      ],
    },
    null,
    2,
  );
}
