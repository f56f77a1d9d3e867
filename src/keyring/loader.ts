import type { Clock, Random } from '../clock.ts';
import { KeyError } from '../errors.ts';
import { mergeAlike } from '../format/alike.ts';
import type { Severity } from '../format/messages.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import type { Deadline } from '../kms/retry.ts';
import type { KeyFailure, Keyring } from './keyring.ts';
import { retryMissingKeys } from './missing.ts';
import { NEVER_DROP, stillWrapped, withHint } from './refusals.ts';
import type { Settings } from './settings.ts';

export interface LoaderParts {
  readonly settings: Settings;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: (severity: Severity, text: string) => void;
  /** Hears how many versions are missing, whenever they have been tried. */
  readonly missing: (versions: number) => void;
  /** Makes the hint fit the process that reads it. */
  readonly hinted: (error: KeyError) => KeyError;
}

export interface Loaded {
  readonly keys: number;
  readonly versions: number;
  /** Settled when no missing version is tried any more, and never rejected; undefined when none is missing. */
  readonly retrying: Promise<void> | undefined;
}

/** The load at a start, and the stored versions that it left wrapped: those are tried again until they open. */
export class KeyLoader {
  readonly #parts: LoaderParts;
  #missing: readonly KeyFailure[] = [];
  /** Ends the attempts for the versions that the last load left wrapped. */
  #retrying = new AbortController();

  constructor(parts: LoaderParts) {
    this.#parts = parts;
  }

  /**
   * Unwraps every stored version. Where `allow_missing_keys` says so, it does without those that stay wrapped.
   * @throws KeyError STORE_UNAVAILABLE, KEYS_FAILED
   */
  async load(deadline: Deadline): Promise<Loaded> {
    const { keyring, settings, log, hinted } = this.#parts;
    const { keys, versions, failures } = await keyring.loadAll(deadline);
    if (failures.length === 0) {
      // This load has loaded what an earlier one missed.
      this.stop();
      if (this.#missing.length > 0) this.#report([]);
      return { keys, versions, retrying: undefined };
    }
    for (const error of mergeAlike(failures.map(({ error }) => hinted(error)))) log('error', withHint(error));
    const count = `${failures.length} of ${versions} stored key versions cannot be unwrapped`;
    const [first] = failures;
    if (!settings.allowMissingKeys) {
      throw new KeyError('KEYS_FAILED', `${count}; the first: ${first?.error.message}`, {
        hint: 'each is listed above with its cause; aws_key_management_allow_missing_keys=ON starts without them, and data encrypted with them cannot be read until they load',
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
   * Statements that need a missing version fail at once instead of waiting for KMS: the server may hold locks meanwhile.
   * @throws KeyError KEY_STILL_WRAPPED
   */
  refuseMissing(id: KeyId, version?: KeyVersion): void {
    const missing = this.#missing.find(({ name }) => name.id === id && (version ?? name.version) === name.version);
    if (missing !== undefined) throw stillWrapped(missing.name, missing.error);
  }

  /** Tries no missing version any more. */
  stop(): void {
    this.#retrying.abort();
  }

  async #retry(failures: readonly KeyFailure[]): Promise<void> {
    const { keyring, clock, random, log } = this.#parts;
    const report = (still: readonly KeyFailure[]): void => {
      this.#report(still);
      if (still.length === 0) log('note', 'every stored key version is loaded now');
    };
    // This load has tried what an earlier one missed.
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
