import type { Secrets } from '../../../secrets.ts';
import type { AccessKey } from '../sigv4.ts';
import { malformed } from './malformed.ts';

export interface Identity extends AccessKey {
  readonly expiration?: Date | undefined;
  /** The SDK's marks for the sources that took part. */
  readonly $source?: object | undefined;
}

/** As the SDK: what expires sooner is asked for again. */
const RENEW_BEFORE_MS = 300_000;

/** Whom KMS is asked as. */
export class IdentitySource {
  readonly #chain: () => Promise<() => Promise<Identity>>;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #secrets: Secrets;
  #provider: Promise<() => Promise<Identity>> | undefined;
  #known: Identity | undefined;

  /** @param chain makes a chain that remembers nothing of those before */
  constructor(chain: () => Promise<() => Promise<Identity>>, environment: NodeJS.ProcessEnv, secrets: Secrets) {
    this.#chain = chain;
    this.#environment = environment;
    this.#secrets = secrets;
  }

  async get(wallMs: number): Promise<Identity> {
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
    this.#provider ??= this.#chain();
    const asked = this.#provider;
    try {
      this.#known = await (await asked)();
      return this.#known;
    } catch (error) {
      // Nor is the next one made to wait for what this one waited for in vain.
      if (this.#provider === asked) this.#provider = undefined;
      // They were to be renewed early: they are good until they expire.
      if (known?.expiration !== undefined && known.expiration.getTime() > wallMs) return known;
      throw error;
    }
  }

  /** The chain remembers what it once read from a shared file, and would not notice that it was renewed there. */
  forget(refused: Identity): void {
    // Who was refused later than another has been renewed since.
    if (this.#known !== refused) return;
    this.#known = undefined;
    this.#provider = undefined;
  }
}

/** The first link of the SDK's chain (defaultProvider of credential-provider-node), for which the rest need not be loaded. */
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
