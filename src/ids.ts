import { KeyError } from './errors.ts';

declare const keyIdBrand: unique symbol;
declare const keyVersionBrand: unique symbol;

/** MariaDB's ENCRYPTION_KEY_ID: 1 to 4294967295. */
export type KeyId = number & { readonly [keyIdBrand]: true };
/** Version of a key: 1 to 4294967294, because 4294967295 is the server's ENCRYPTION_KEY_VERSION_INVALID. */
export type KeyVersion = number & { readonly [keyVersionBrand]: true };

export const MAX_KEY_ID = 0xffff_ffff;
export const MAX_KEY_VERSION = 0xffff_fffe;

export function isKeyId(value: number): value is KeyId {
  return Number.isInteger(value) && value >= 1 && value <= MAX_KEY_ID;
}

export function isKeyVersion(value: number): value is KeyVersion {
  return Number.isInteger(value) && value >= 1 && value <= MAX_KEY_VERSION;
}

/** @throws KeyError BAD_OPTION */
export function keyId(value: number): KeyId {
  if (!isKeyId(value)) throw new KeyError('BAD_OPTION', `key id: expected 1 to ${MAX_KEY_ID}, got ${value}`);
  return value;
}

/** @throws KeyError BAD_OPTION */
export function keyVersion(value: number): KeyVersion {
  if (!isKeyVersion(value)) {
    throw new KeyError('BAD_OPTION', `key version: expected 1 to ${MAX_KEY_VERSION}, got ${value}`);
  }
  return value;
}

/** Decimal without sign, space or leading zero, or undefined. */
export function parseDecimal(text: string): number | undefined {
  return /^(?:0|[1-9][0-9]{0,9})$/.test(text) ? Number(text) : undefined;
}

/** The key ids that may be created: inclusive ranges in the order written; no range at all means any id. */
export interface KeyIdSet {
  readonly ranges: readonly { readonly first: KeyId; readonly last: KeyId }[];
}

/**
 * Parses `aws_key_management_key_ids`, or an option that takes the same: numbers and ranges separated by commas, such as
 * `1-2,100-199`; spaces around them are allowed; empty means any id.
 * @throws KeyError BAD_OPTION
 */
export function parseKeyIdSet(text: string, option = 'aws_key_management_key_ids'): KeyIdSet {
  const badKeyIds = (reason: string): KeyError =>
    new KeyError('BAD_OPTION', `${option}: ${reason}`, {
      hint: `write numbers from 1 to ${MAX_KEY_ID} and ranges of them, for example 1-2,100-199; empty allows every id`,
    });
  if (text.trim() === '') return { ranges: [] };
  const ranges = text.split(',').map((part) => {
    const bounds = part.split('-').map((bound) => parseDecimal(bound.trim()));
    const first = bounds[0];
    const last = bounds.length === 1 ? first : bounds[1];
    if (bounds.length > 2 || first === undefined || last === undefined || !isKeyId(first) || !isKeyId(last)) {
      throw badKeyIds(`"${part.trim()}" is not a key id or a range of key ids`);
    }
    if (first > last) throw badKeyIds(`the range "${part.trim()}" ends before it begins`);
    return { first, last };
  });
  return { ranges };
}

export function allowsKeyId(set: KeyIdSet, id: KeyId): boolean {
  return set.ranges.length === 0 || set.ranges.some(({ first, last }) => first <= id && id <= last);
}
