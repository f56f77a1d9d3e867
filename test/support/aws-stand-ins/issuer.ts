import { randomBytes } from 'node:crypto';
import type { AccessKey } from '../../../src/dev-kms/index.ts';

export interface IssuedKey extends AccessKey {
  readonly sessionToken: string;
  readonly expiresAt: number;
}

export const HOUR_MS = 3_600_000;

/** Issues session credentials that the embedded KMS accepts until they expire. */
export class Issuer {
  /** Access keys that the embedded KMS accepts. */
  readonly accessKeys: AccessKey[] = [];
  /** Texts that must never appear in a message. */
  readonly secrets: string[] = [];
  lifetimeMs = HOUR_MS;
  #count = 0;

  get issued(): number {
    return this.#count;
  }

  /** Long-lived keys, as of a user. */
  user(): AccessKey {
    const key = { accessKeyId: `AKIA${this.#serial()}`, secretAccessKey: this.secret('key') };
    this.accessKeys.push(key);
    return key;
  }

  session(): IssuedKey {
    const key = {
      accessKeyId: `ASIA${this.#serial()}`,
      secretAccessKey: this.secret('key'),
      sessionToken: this.secret('session'),
      expiresAt: Date.now() + this.lifetimeMs,
    };
    this.accessKeys.push(key);
    return key;
  }

  secret(kind: string): string {
    // Errors quote the beginning of what they cannot read.
    const secret = `${randomBytes(18).toString('hex')}-secret-${kind}`;
    this.secrets.push(secret);
    return secret;
  }

  #serial(): string {
    this.#count += 1;
    return String(this.#count).padStart(16, '0');
  }
}

/** As the metadata services of EC2, ECS and EKS write them. */
export function metadataDocument(key: IssuedKey): Readonly<Record<string, string>> {
  return {
    Code: 'Success',
    Type: 'AWS-HMAC',
    AccessKeyId: key.accessKeyId,
    SecretAccessKey: key.secretAccessKey,
    Token: key.sessionToken,
    Expiration: new Date(key.expiresAt).toISOString(),
  };
}

/** As a credential process prints them. */
export function processDocument(key: AccessKey): Readonly<Record<string, unknown>> {
  return {
    Version: 1,
    AccessKeyId: key.accessKeyId,
    SecretAccessKey: key.secretAccessKey,
    ...(key.sessionToken === undefined ? {} : { SessionToken: key.sessionToken }),
    ...(key.expiresAt === undefined ? {} : { Expiration: new Date(key.expiresAt).toISOString() }),
  };
}
