import { KmsFault, validation } from './kms-fault.ts';

/** Name-value pairs that are authenticated with a ciphertext. They are not secret. */
export type EncryptionContext = Readonly<Record<string, string>>;

export interface Tag {
  readonly TagKey: string;
  readonly TagValue: string;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const ASCII = { source: '^\\p{ASCII}+$', test: /^\p{ASCII}+$/u };
const ENCRYPTION_ALGORITHMS = ['RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256', 'SM2PKE', 'SYMMETRIC_DEFAULT'] as const;

/**
 * Reads the members of a request and collects all violations, because AWS reports them at once. For an invalid member a
 * reader returns a placeholder; `check()` must be called before any value is used, and throws ValidationException. A
 * value of the wrong JSON type is a SerializationException.
 */
export class Members {
  readonly #input: Record<string, unknown>;
  readonly #violations: string[] = [];

  constructor(input: unknown) {
    if (!isRecord(input)) throw wrongType('request', 'a structure');
    this.#input = input;
  }

  /** @throws KmsFault ValidationException */
  check(): void {
    const count = this.#violations.length;
    if (count === 0) return;
    throw validation(`${count} validation error${count === 1 ? '' : 's'} detected: ${this.#violations.join('; ')}`);
  }

  keyId(member: string): string {
    return this.#required(member, this.optionalKeyId(member), '');
  }

  optionalKeyId(member: string): string | undefined {
    const value = this.#string(member, 1, 2048);
    if (value !== undefined && !ASCII.test.test(value)) this.#pattern(member, value, ASCII.source);
    return value;
  }

  aliasName(): string {
    const source = '^[a-zA-Z0-9/_-]+$';
    const value = this.#required('AliasName', this.#string('AliasName', 1, 256), '');
    // AWS names the colon apart from the other characters that an alias may not have.
    if (value.includes(':')) throw validation(`${value} contains invalid characters for an alias`);
    if (value !== '' && !new RegExp(source).test(value)) this.#pattern('AliasName', value, source);
    return value;
  }

  region(member: string): string {
    const source = '^([a-z]+-){2,3}\\d+$';
    const value = this.#required(member, this.#string(member, 1, 32), '');
    if (value !== '' && !new RegExp(source).test(value)) this.#pattern(member, value, source);
    return value;
  }

  text(member: string, maximum: number): string | undefined {
    return this.#string(member, 0, maximum);
  }

  choice<T extends string>(member: string, allowed: readonly T[]): T | undefined {
    const value = this.#string(member, 0, Number.POSITIVE_INFINITY);
    if (value === undefined) return undefined;
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) {
      this.#violate(`Value '${value}'`, member, `Member must satisfy enum value set: [${allowed.join(', ')}]`);
    }
    return found;
  }

  algorithm(member = 'EncryptionAlgorithm'): void {
    const value = this.choice(member, ENCRYPTION_ALGORITHMS);
    if (value !== undefined && value !== 'SYMMETRIC_DEFAULT') {
      throw new KmsFault(
        'InvalidKeyUsageException',
        `Algorithm ${value} is incompatible with key spec SYMMETRIC_DEFAULT.`,
      );
    }
  }

  flag(member: string): boolean {
    const value = this.#get(member);
    if (value === undefined) return false;
    if (typeof value !== 'boolean') throw wrongType(member, 'a Boolean');
    return value;
  }

  integer(member: string, minimum: number, maximum: number): number | undefined {
    const value = this.#get(member);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value)) throw wrongType(member, 'an Integer');
    if (value < minimum) {
      this.#violate(`Value '${value}'`, member, `Member must have value greater than or equal to ${minimum}`);
    } else if (value > maximum) {
      this.#violate(`Value '${value}'`, member, `Member must have value less than or equal to ${maximum}`);
    }
    return value;
  }

  /**
   * Base64 in requests from the network, bytes in process. `secret`: AWS leaves the word null out of the message as
   * well.
   */
  blob(member: string, maximum: number, secret = false): Uint8Array {
    const value = this.optionalBlob(member, maximum);
    if (value === undefined) {
      this.#violate(secret ? 'Value' : 'Value null', member, 'Member must not be null');
      return new Uint8Array(0);
    }
    return value;
  }

  optionalBlob(member: string, maximum: number): Uint8Array | undefined {
    const value = this.#get(member);
    if (value === undefined) return undefined;
    const bytes = value instanceof Uint8Array ? value : decodeBase64(member, value);
    if (bytes.length < 1) this.#violate('Value', member, 'Member must have length greater than or equal to 1');
    if (bytes.length > maximum) {
      this.#violate('Value', member, `Member must have length less than or equal to ${maximum}`);
    }
    return bytes;
  }

  context(member = 'EncryptionContext'): EncryptionContext {
    const value = this.#get(member);
    if (value === undefined) return {};
    if (!isRecord(value)) throw wrongType(member, 'a Map');
    const pairs: [string, string][] = [];
    for (const [name, text] of Object.entries(value)) {
      if (typeof text !== 'string') throw wrongType(member, 'a String');
      // A lone surrogate has no UTF-8 form of its own: two contexts would authenticate the same bytes.
      if (!name.isWellFormed() || !text.isWellFormed()) throw wrongType(member, 'well-formed Unicode');
      pairs.push([name, text]);
    }
    return Object.fromEntries(pairs);
  }

  strings(member: string): readonly string[] {
    const value = this.#get(member);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw wrongType(member, 'a List');
    return value.map((entry: unknown) => {
      if (typeof entry !== 'string') throw wrongType(member, 'a String');
      return entry;
    });
  }

  tags(): readonly Tag[] {
    const value = this.#get('Tags');
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw wrongType('Tags', 'a List');
    return value.map((tag: unknown) => {
      if (!isRecord(tag)) throw wrongType('Tags', 'a structure');
      const { TagKey, TagValue } = tag;
      if (typeof TagKey !== 'string' || typeof TagValue !== 'string') throw wrongType('Tags', 'a String');
      return { TagKey, TagValue };
    });
  }

  #get(member: string): unknown {
    const value = Object.hasOwn(this.#input, member) ? this.#input[member] : undefined;
    return value === null ? undefined : value;
  }

  #string(member: string, minimum: number, maximum: number): string | undefined {
    const value = this.#get(member);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') throw wrongType(member, 'a String');
    if (value.length < minimum) {
      this.#violate(`Value '${value}'`, member, `Member must have length greater than or equal to ${minimum}`);
    } else if (value.length > maximum) {
      this.#violate(`Value '${value}'`, member, `Member must have length less than or equal to ${maximum}`);
    }
    return value;
  }

  #required<T>(member: string, value: T | undefined, placeholder: T): T {
    if (value !== undefined) return value;
    this.#violate('Value null', member, 'Member must not be null');
    return placeholder;
  }

  #pattern(member: string, value: string, source: string): void {
    this.#violate(`Value '${value}'`, member, `Member must satisfy regular expression pattern: ${source}`);
  }

  #violate(value: string, member: string, constraint: string): void {
    const camel = member.charAt(0).toLowerCase() + member.slice(1);
    this.#violations.push(`${value} at '${camel}' failed to satisfy constraint: ${constraint}`);
  }
}

/** AWS's texts here are those of its JSON reader; ours only name the member and the type. */
function wrongType(member: string, expected: string): KmsFault {
  return new KmsFault('SerializationException', `${member} can not be converted to ${expected}`);
}

function decodeBase64(member: string, value: unknown): Uint8Array {
  // Buffer skips what it cannot decode; a damaged blob must be refused instead.
  if (typeof value !== 'string' || value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) {
    throw wrongType(member, 'a Blob');
  }
  return Buffer.from(value, 'base64');
}
