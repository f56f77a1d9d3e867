import type { EncryptionContext } from './members.ts';

/** The record of one finished call. It never holds a plaintext, a ciphertext or the secret part of a credential. */
export interface CallRecord {
  /** ISO 8601. */
  readonly time: string;
  readonly region: string;
  readonly operation: string;
  /** The key's ARN where the answer names it, else the name that the request used, else empty. */
  readonly keyId: string;
  readonly context: EncryptionContext;
  /** HTTP status; 0 when the call got no answer. */
  readonly status: number;
  /** AWS's error name; empty for success. */
  readonly error: string;
  readonly message: string;
  readonly requestId: string;
  readonly durationMs: number;
  readonly accessKeyId: string;
  readonly dryRun: boolean;
  /** The injected fault that was applied; empty for none. */
  readonly fault: string;
}

/** The last calls, oldest first. */
export class CallLog {
  readonly #limit: number;
  readonly #onCall: (call: CallRecord) => void;
  #calls: CallRecord[] = [];

  constructor(onCall: (call: CallRecord) => void = () => undefined, limit = 10_000) {
    this.#onCall = onCall;
    this.#limit = limit;
  }

  add(call: CallRecord): void {
    this.#calls.push(call);
    if (this.#calls.length > this.#limit) this.#calls.shift();
    this.#onCall(call);
  }

  list(): readonly CallRecord[] {
    return [...this.#calls];
  }

  clear(): void {
    this.#calls = [];
  }
}
