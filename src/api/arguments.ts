import { KeyError } from '../errors.ts';
import { contextOf } from '../format/json-fields.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import type { EncryptionContext } from './names.ts';

/** The longest timer of Node.js. */
const MAX_MS = 0x7fff_ffff;

/** @throws KeyError BAD_OPTION */
export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw malformed(name, 'an object', value);
}

/**
 * Refuses what no object of that type can be: programs without types misspell options, and an option that is silently
 * left out may be the one that protects.
 * @throws KeyError BAD_OPTION
 */
export function checkMembers<T extends object>(name: string, value: T, members: Readonly<Record<keyof T, true>>): void {
  checkObject(name, value);
  const other = Object.keys(value).find((member) => !Object.hasOwn(members, member));
  if (other !== undefined) {
    const known = Object.keys(members).join(', ');
    throw new KeyError('BAD_OPTION', `"${name}" has no member ${JSON.stringify(other)}: it has ${known}`);
  }
}

/** @throws KeyError BAD_OPTION */
export function text(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw malformed(name, 'a text that is not empty', value);
}

/** @throws KeyError BAD_OPTION */
export function wrappedKey(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed('wrapped', 'a Uint8Array', value);
  if (value.length >= 1 && value.length <= MAX_WRAPPED_KEY_BYTES) return value;
  throw new KeyError('BAD_OPTION', `"wrapped" expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got ${value.length}`);
}

/** @returns a copy @throws KeyError BAD_OPTION */
export function contextPairs(value: unknown): EncryptionContext {
  return contextOf(value, (reason) => new KeyError('BAD_OPTION', `${reason}: expected an object with texts`));
}

/** @throws KeyError BAD_OPTION */
export function milliseconds(name: string, value: number | undefined): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= MAX_MS)) return value;
  throw malformed(name, `1 to ${MAX_MS} milliseconds`, value);
}

/** Names the type of a value and not the value, except for a number: bytes and texts in a wrong place may be secret. */
function malformed(name: string, expected: string, value: unknown): KeyError {
  const got =
    typeof value === 'number' || value === null ? String(value) : value === '' ? 'an empty one' : typeof value;
  return new KeyError('BAD_OPTION', `"${name}" expected ${expected}, got ${got}`);
}
