import type { KeyName as InternalName } from '../format/key-file-name.ts';
import { keyId, keyVersion } from '../ids.ts';
import { checkObject } from './arguments.ts';
import type { KeyName } from './names.ts';

export function publicName({ id, version }: InternalName): KeyName {
  return { keyId: id, keyVersion: version };
}

/** @throws KeyError BAD_OPTION */
export function internalName(name: KeyName): InternalName {
  checkObject('name', name);
  return { id: keyId(name.keyId), version: keyVersion(name.keyVersion) };
}
