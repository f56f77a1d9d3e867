import type { Clock, Random } from '../clock.ts';
import { KeyError } from '../errors.ts';
import { mergeAlike } from '../format/alike.ts';
import type { Role, Severity } from '../format/messages.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import type { Deadline } from '../kms/retry.ts';
import type { KeyFailure, Keyring } from './keyring.ts';
import { retryMissingKeys } from './missing.ts';
import { NEVER_DROP, stillWrapped, withHint } from './refusals.ts';
import type { Settings } from './settings.ts';

const LISTED = 'each is listed above with its cause';
/** A mariadb-backup that misses a key fails, whatever the setting. */
const STARTS_WITHOUT =
  'only where neither redo log nor system tablespace nor temporary files are encrypted, aws_key_management_allow_missing_keys=ON starts without them, and data encrypted with them cannot be read until they load';

export interface LoaderParts {
  readonly role: Role;
  readonly settings: Settings;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: (severity: Severity, text: string) => void;
  /** Called with the number of missing versions after each attempt. */
  readonly missing: (versions: number) => void;
  /** Adapts the hint to the process that reports it. */
  readonly hinted: (error: KeyError) => KeyError;
}

export interface Loaded {
  readonly keys: number;
  readonly versions: number;
  /** Settles when no missing version is retried any more, and never rejects; undefined when none is missing. */
  readonly retrying: Promise<void> | undefined;
}

/** Loads all keys at a start, and retries the stored versions that could not be unwrapped. */
export class KeyLoader {
  readonly #parts: LoaderParts;
  #missing: readonly KeyFailure[] = [];
  /** Ends the retries of the previous load. */
  #retrying = new AbortController();

  constructor(parts: LoaderParts) {
    this.#parts = parts;
  }

  /**
   * Unwraps every stored version. With `allow_missing_keys`, versions that cannot be unwrapped are left out.
   * @throws KeyError STORE_UNAVAILABLE, KEYS_FAILED
   */
  async load(deadline: Deadline): Promise<Loaded> {
    const { keyring, settings, role, log, hinted } = this.#parts;
    const { keys, versions, failures } = await keyring.loadAll(deadline);
    if (failures.length === 0) {
      // This load has loaded the versions that an earlier one missed.
      this.stop();
      if (this.#missing.length > 0) this.#report([]);
      return { keys, versions, retrying: undefined };
    }
    const told = mergeAlike(failures.map(({ error }) => hinted(error)));
    for (const error of told) log('error', withHint(error));
    const count = `${failures.length} of ${versions} stored key versions cannot be unwrapped`;
    const [first] = failures;
    if (!settings.allowMissingKeys) {
      // A reason that is the only one was logged in full, just before.
      const [only, ...others] = told;
      const why =
        others.length === 0 ? `: ${only?.failure?.name ?? only?.code}` : `; the first: ${first?.error.message}`;
      throw new KeyError('KEYS_FAILED', `${count}${why}`, {
        hint: role === 'backup' ? LISTED : `${LISTED}; ${STARTS_WITHOUT}`,
      });
    }
    log(
      'warning',
      `${count}; starting without them, as aws_key_management_allow_missing_keys says, and going on trying; ${NEVER_DROP}`,
    );
    this.#report(failures);
    return { keys, versions: versions - failures.length, retrying: this.#retry(failures) };
  }

  /**
   * Fails requests for a missing version at once instead of waiting for KMS: the server may hold locks meanwhile.
   * @throws KeyError KEY_STILL_WRAPPED
   */
  refuseMissing(id: KeyId, version?: KeyVersion): void {
    const missing = this.#missing.find(({ name }) => name.id === id && (version ?? name.version) === name.version);
    if (missing !== undefined) throw stillWrapped(missing.name, missing.error);
  }

  /** Ends the retries. */
  stop(): void {
    this.#retrying.abort();
  }

  async #retry(failures: readonly KeyFailure[]): Promise<void> {
    const { keyring, clock, random, log } = this.#parts;
    const report = (still: readonly KeyFailure[]): void => {
      this.#report(still);
      if (still.length === 0) log('note', 'every stored key version is loaded now');
    };
    // This load has tried the versions that an earlier one missed.
    this.stop();
    this.#retrying = new AbortController();
    const names = failures.map(({ name }) => name);
    await retryMissingKeys(names, { keyring, clock, random, report }, this.#retrying.signal);
  }

  #report(failures: readonly KeyFailure[]): void {
    this.#missing = failures;
    this.#parts.missing(failures.length);
  }
}
