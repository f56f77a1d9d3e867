import { type Answer, arn, authorize, type Call, seconds } from './call.ts';
import { aliasNotFound, findKey, keyArn, requireNotPendingDeletion, resolveKey } from './keys.ts';
import { KmsFault, validation } from './kms-fault.ts';
import { Members } from './members.ts';
import { page } from './page.ts';
import type { AliasRecord, KeyRecord } from './state.ts';

export function createAlias(call: Call, input: unknown): Answer {
  const { name, target } = readAlias(call, input, 'CreateAlias');
  if (findAlias(call, name) !== undefined) {
    throw new KmsFault('AlreadyExistsException', `An alias with the name ${arn(call, name)} already exists`);
  }
  call.state.aliases.push({
    region: call.region,
    name,
    targetKeyId: target.keyId,
    createdAt: call.nowMs,
    updatedAt: call.nowMs,
  });
  return undefined;
}

export function updateAlias(call: Call, input: unknown): Answer {
  const { name, target } = readAlias(call, input, 'UpdateAlias');
  const alias = requireAlias(call, name);
  alias.targetKeyId = target.keyId;
  alias.updatedAt = call.nowMs;
  return undefined;
}

export function deleteAlias(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.aliasName();
  members.check();
  requireAliasName(name);
  authorize(call, 'DeleteAlias', arn(call, name));
  const alias = requireAlias(call, name);
  call.state.aliases.splice(call.state.aliases.indexOf(alias), 1);
  return undefined;
}

export function listAliases(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const limit = members.integer('Limit', 1, 100) ?? 50;
  const marker = members.text('Marker', 1024);
  const keyName = members.optionalKeyId('KeyId');
  members.check();
  authorize(call, 'ListAliases', '*');
  const key = keyName === undefined ? undefined : resolveKey(call, keyName, 'ListAliases');
  const here = call.state.aliases.filter(
    (alias) =>
      alias.region === call.region &&
      (key === undefined || alias.targetKeyId === key.keyId) &&
      findKey(call, alias.targetKeyId) !== undefined,
  );
  const { entries, ...rest } = page(here, (alias) => alias.name, limit, marker);
  return { Aliases: entries.map((alias) => entry(call, alias)), ...rest };
}

function entry(call: Call, alias: AliasRecord): Record<string, unknown> {
  return {
    AliasName: alias.name,
    AliasArn: arn(call, alias.name),
    TargetKeyId: alias.targetKeyId,
    CreationDate: seconds(alias.createdAt),
    LastUpdatedDate: seconds(alias.updatedAt),
  };
}

function readAlias(call: Call, input: unknown, action: string): { readonly name: string; readonly target: KeyRecord } {
  const members = new Members(input);
  const name = members.aliasName();
  const targetName = members.keyId('TargetKeyId');
  members.check();
  requireAliasName(name);
  if (/^(?:arn:.*:)?alias\//.test(targetName)) throw validation('Aliases must refer to keys. Not aliases');
  authorize(call, action, arn(call, name));
  const target = resolveKey(call, targetName, action);
  authorize(call, action, keyArn(call, target));
  requireNotPendingDeletion(call, target);
  return { name, target };
}

function requireAliasName(name: string): void {
  if (!name.startsWith('alias/')) {
    throw validation(
      'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html',
    );
  }
  // AWS keeps this prefix for the keys that its services own, and gives no message.
  if (name.startsWith('alias/aws/')) throw new KmsFault('NotAuthorizedException', '');
  if (name === 'alias/') throw new KmsFault('InvalidAliasNameException', 'Alias must not be empty');
}

function requireAlias(call: Call, name: string): AliasRecord {
  const alias = findAlias(call, name);
  if (alias === undefined) throw aliasNotFound(call, name);
  return alias;
}

function findAlias(call: Call, name: string): AliasRecord | undefined {
  return call.state.aliases.find((alias) => alias.region === call.region && alias.name === name);
}
