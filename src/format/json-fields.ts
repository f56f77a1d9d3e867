import type { KeyError } from '../errors.ts';

/**
 * Makes the error for a problem found in untrusted JSON. The functions here word the problem, and the caller chooses
 * code and hint.
 */
export type Refuse = (reason: string, cause?: unknown) => KeyError;

/** @throws KeyError `refuse(reason)` */
export function parseJson(text: string, reason: string, refuse: Refuse): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw refuse(reason, cause);
  }
}

/** Returns a copy of the object. @throws KeyError `refuse(reason)` */
export function objectOf(value: unknown, reason: string, refuse: Refuse): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(reason);
  return { ...value };
}

/** @throws KeyError */
export function textField(
  fields: Readonly<Record<string, unknown>>,
  field: string,
  pattern: RegExp,
  refuse: Refuse,
): string {
  const value = fields[field];
  if (typeof value !== 'string' || !pattern.test(value)) throw refuse(`"${field}" is missing or malformed`);
  return value;
}

/** The member "encryptionContext". @throws KeyError */
export function contextOf(value: unknown, refuse: Refuse): Record<string, string> {
  const malformed = '"encryptionContext" is malformed';
  const pairs = Object.entries(objectOf(value, malformed, refuse)).map(([name, text]): [string, string] => {
    if (typeof text !== 'string') throw refuse(malformed);
    return [name, text];
  });
  return Object.fromEntries(pairs);
}
