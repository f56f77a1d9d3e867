import { hash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { KeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/store.ts';

/** Milliseconds after which KMS is asked again about the same bytes. */
const REFUSED_FOR_MS = 3_600_000;
/** As before, after a wrong answer: it may come from a proxy or another endpoint, and say nothing about the bytes. */
const DOUBTED_FOR_MS = 300_000;

interface Refusal {
  readonly question: string;
  readonly error: KeyError;
  readonly untilMs: number;
}

/**
 * Damaged keys: KMS refuses the same bytes again, so a retry asks only when the files or the configured context have
 * changed, or after an hour.
 */
export class RefusedKeys {
  readonly #clock: Clock;
  readonly #refusals = new Map<string, Refusal>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws KeyError the earlier refusal of the same bytes */
  assertNone(name: KeyName, stored: StoredKey, configured: EncryptionContext): void {
    const refusal = this.#refusals.get(keyFileName(name));
    if (refusal === undefined || this.#clock.monotonicMs() >= refusal.untilMs) return;
    if (refusal.question === questionOf(stored, configured)) throw refusal.error;
  }

  /** Records a failure that says that the files are damaged; others tell nothing about the next attempt. */
  note(name: KeyName, stored: StoredKey, configured: EncryptionContext, error: KeyError): void {
    if (error.code !== 'KMS_CORRUPT' && error.code !== 'KEY_FILE_CORRUPT') return;
    // A wrong answer is reported as a damaged file where the sidecar describes other bytes.
    const isWrongAnswer = error.cause instanceof KeyError && error.cause.code === 'KMS_BAD_ANSWER';
    const untilMs = this.#clock.monotonicMs() + (isWrongAnswer ? DOUBTED_FOR_MS : REFUSED_FOR_MS);
    this.#refusals.set(keyFileName(name), { question: questionOf(stored, configured), error, untilMs });
  }
}

/** Everything that the answer depends on. */
function questionOf({ wrapped, sidecarText }: StoredKey, configured: EncryptionContext): string {
  const digests = [wrapped, sidecarText].map((bytes) => bytes && hash('sha256', bytes));
  return JSON.stringify([...digests, configured]);
}
