import { expect, it } from 'vitest';
import { canonicalPolicy, grantOf, parseIdentity, parseKeyPolicy } from '../../../src/iam/key-policy.ts';

const ACCOUNT = '111122223333';
const KEY = `arn:aws:kms:eu-central-1:${ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
const ROOT = { AWS: `arn:aws:iam::${ACCOUNT}:root` };
const ROLE = { AWS: `arn:aws:iam::${ACCOUNT}:role/databases/mariadb` };
const SESSION = `arn:aws:sts::${ACCOUNT}:assumed-role/mariadb/i-0123`;
const ACTION = 'kms:ScheduleKeyDeletion';
const condition = { StringEquals: { 'kms:ViaService': 's3.eu-central-1.amazonaws.com' } };

function allow(Principal: unknown, Action: unknown, more: object = {}): object {
  return { Effect: 'Allow', Principal, Action, Resource: '*', ...more };
}

function grant(statements: unknown, caller = SESSION, keyArn = KEY): string {
  const policy = parseKeyPolicy(JSON.stringify({ Version: '2012-10-17', Statement: statements }));
  const identity = parseIdentity(caller);
  if (policy === undefined || identity === undefined) throw new Error('not parsed');
  return grantOf(policy, identity, ACTION, keyArn);
}

it.each([
  ['a role by its name, whatever its path', [allow(ROLE, 'kms:*')], 'allowed'],
  [
    'a list of principals and of actions',
    [allow({ AWS: ['222233334444', ROLE.AWS] }, ['kms:Decrypt', ACTION])],
    'allowed',
  ],
  ['the session itself', [allow({ AWS: SESSION }, ACTION)], 'allowed'],
  ['everybody', [allow('*', 'kms:*')], 'allowed'],
  ['everybody, under AWS', [allow({ AWS: '*' }, '*')], 'allowed'],
  ['one statement that is no list', allow(ROLE, 'KMS:schedulekeydeletion'), 'allowed'],
  ['wildcards', [allow(ROLE, 'kms:Schedule*Deletio?')], 'allowed'],
  ['a dot is no wildcard', [allow(ROLE, 'kms.ScheduleKeyDeletion')], 'none'],
  ['all but others', [allow(ROLE, undefined, { NotAction: 'kms:Decrypt' })], 'allowed'],
  ['all but this', [allow(ROLE, undefined, { NotAction: ['kms:Schedule*'] })], 'none'],
  ['all principals but others', [allow(undefined, 'kms:*', { NotPrincipal: { AWS: '222233334444' } })], 'allowed'],
  ['with conditions', [allow(ROLE, 'kms:*', { Condition: condition })], 'conditional'],
  ['with conditions and without', [allow(ROLE, 'kms:*', { Condition: condition }), allow(ROLE, ACTION)], 'allowed'],
  ['the account, as AWS gives it', [allow(ROOT, 'kms:*')], 'delegated'],
  ['the account by its number', [allow({ AWS: ACCOUNT }, 'kms:*')], 'delegated'],
  ['other actions', [allow(ROLE, ['kms:Decrypt', 'kms:GenerateDataKey*'])], 'none'],
  ['a role whose name only begins so', [allow({ AWS: `${ROLE.AWS}-admin` }, 'kms:*')], 'none'],
  ['a user of the same name', [allow({ AWS: `arn:aws:iam::${ACCOUNT}:user/mariadb` }, 'kms:*')], 'none'],
  [
    'a role of that name in another account',
    [allow({ AWS: 'arn:aws:iam::222233334444:role/mariadb' }, 'kms:*')],
    'none',
  ],
  ['a service', [allow({ Service: 'logs.amazonaws.com' }, 'kms:*')], 'none'],
  ['another key', [allow(ROLE, 'kms:*', { Resource: `${KEY.slice(0, -1)}c` })], 'none'],
  ['this key by its ARN', [allow(ROLE, 'kms:*', { Resource: [KEY] })], 'allowed'],
  ['denied after all', [allow(ROLE, 'kms:*'), { ...allow(ROLE, 'kms:Schedule*'), Effect: 'Deny' }], 'none'],
  ['denied to the account', [allow(ROLE, 'kms:*'), { ...allow(ROOT, ACTION), Effect: 'Deny' }], 'none'],
  ['denied to others', [allow(ROLE, 'kms:*'), { ...allow({ AWS: '222233334444' }, '*'), Effect: 'Deny' }], 'allowed'],
  [
    'perhaps denied',
    [allow(ROLE, 'kms:*'), { ...allow('*', 'kms:*', { Condition: condition }), Effect: 'Deny' }],
    'conditional',
  ],
])('a key policy grants as KMS does: %s', (_title, statements, expected) => {
  expect(grant(statements)).toBe(expected);
});

it('a key policy leaves the decision to IAM when the key is of another account', () => {
  const other = KEY.replace(ACCOUNT, '222233334444');
  expect(grant([allow(ROLE, 'kms:*')], SESSION, other)).toBe('delegated');
});

it('a key policy applies to users and to the account itself', () => {
  const user = `arn:aws:iam::${ACCOUNT}:user/databases/mariadb`;
  expect(grant([allow({ AWS: user }, 'kms:*')], user)).toBe('allowed');
  expect(grant([allow(ROLE, 'kms:*')], user)).toBe('none');
  expect(grant([allow(ROOT, 'kms:*')], ROOT.AWS)).toBe('allowed');
});

it('an identity names the ARN that IAM policies are attached to', () => {
  expect(parseIdentity(SESSION)?.policyArn).toBe(`arn:aws:iam::${ACCOUNT}:role/mariadb`);
  expect(parseIdentity('arn:aws-cn:iam::111122223333:user/a/b')?.policyArn).toBe(
    'arn:aws-cn:iam::111122223333:user/a/b',
  );
  expect(parseIdentity('')).toBeUndefined();
});

it.each(['', 'text', '[]', 'null', '"a"'])('%j is not read as a policy', (text) => {
  expect(parseKeyPolicy(text)).toBeUndefined();
  expect(canonicalPolicy(text, 'eu-central-1')).toBeUndefined();
});

it('policies are compared by their meaning', () => {
  const use = allow({ AWS: [ROLE.AWS] }, ['kms:Decrypt', 'kms:Encrypt'], { Sid: 'Use', Condition: condition });
  const here = JSON.stringify({ Version: '2012-10-17', Id: 'a', Statement: [allow(ROOT, 'kms:*'), use] }, null, 2);
  const again = JSON.stringify({
    Statement: [
      {
        Condition: condition,
        Resource: ['*'],
        Action: ['kms:Encrypt', 'kms:Decrypt'],
        Principal: ROLE,
        Effect: 'Allow',
      },
      allow(ROOT, ['kms:*']),
    ],
  }).replaceAll('eu-central-1', 'eu-west-1');
  const canonical = canonicalPolicy(here, 'eu-central-1');
  expect(canonicalPolicy(again, 'eu-west-1')).toBe(canonical);
  expect(canonicalPolicy(again.replace('Encrypt', 'ReEncryptTo'), 'eu-west-1')).not.toBe(canonical);
  expect(canonicalPolicy(again.replace('Allow', 'Deny'), 'eu-west-1')).not.toBe(canonical);
  expect(canonicalPolicy(again, 'eu-north-1')).not.toBe(canonical);
});
