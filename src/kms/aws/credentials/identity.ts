import type { Secrets } from '../../../secrets.ts';
import type { AccessKey } from '../sigv4.ts';
import { malformed } from './malformed.ts';

export interface Identity extends AccessKey {
  readonly expiration?: Date | undefined;
  /** The SDK's marks for the sources that took part. */
  readonly $source?: object | undefined;
}

/** Milliseconds before the expiry at which credentials are renewed, as in the SDK. */
const RENEW_BEFORE_MS = 300_000;

/** The identity for calls of KMS, renewed when needed. */
export class IdentitySource {
  readonly #chain: () => Promise<() => Promise<Identity>>;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #secrets: Secrets;
  #provider: Promise<() => Promise<Identity>> | undefined;
  #known: Identity | undefined;

  /** @param chain creates a chain without any cache */
  constructor(chain: () => Promise<() => Promise<Identity>>, environment: NodeJS.ProcessEnv, secrets: Secrets) {
    this.#chain = chain;
    this.#environment = environment;
    this.#secrets = secrets;
  }

  /** Returns known credentials at once: a start asks for them thousands of times. */
  get(wallMs: number): Identity | Promise<Identity> {
    const known = this.#known ?? staticIdentity(this.#environment);
    if (
      known !== undefined &&
      (known.expiration === undefined || known.expiration.getTime() - wallMs > RENEW_BEFORE_MS)
    ) {
      if (known !== this.#known) {
        this.#secrets.add(known.secretAccessKey, known.sessionToken);
        const problem = malformed(known);
        if (problem !== undefined) throw problem;
      }
      this.#known = known;
      return known;
    }
    return this.#renew(known, wallMs);
  }

  async #renew(known: Identity | undefined, wallMs: number): Promise<Identity> {
    this.#provider ??= this.#chain();
    const asked = this.#provider;
    try {
      this.#known = await (await asked)();
      return this.#known;
    } catch (error) {
      // The next caller starts a new request instead of joining the failed one.
      if (this.#provider === asked) this.#provider = undefined;
      // This was an early renewal: the old credentials are valid until they expire.
      if (known?.expiration !== undefined && known.expiration.getTime() > wallMs) return known;
      throw error;
    }
  }

  /** Drops refused credentials: the chain caches shared files, and would not notice that they were renewed. */
  forget(refused: Identity): void {
    // Ignores a refusal of credentials that have already been replaced.
    if (this.#known !== refused) return;
    this.#known = undefined;
    this.#provider = undefined;
  }
}

/**
 * The first link of the SDK's chain (defaultProvider of credential-provider-node), for which the SDK need not be
 * loaded.
 */
function staticIdentity(environment: NodeJS.ProcessEnv): Identity | undefined {
  const {
    AWS_PROFILE: profile,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_CREDENTIAL_EXPIRATION: expiration,
  } = environment;
  if (profile || expiration || !accessKeyId || !secretAccessKey) return undefined;
  const $source = { CREDENTIALS_ENV_VARS: 'g' };
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}), $source };
}
