import type { KeyRecord } from './state.ts';

export interface Use {
  readonly operation: string;
  readonly atMs: number;
  readonly eventId: string;
  /** Undefined: the call was made in this process, without a request. */
  readonly requestId: string | undefined;
}

/**
 * The last use of each key, by Region. It is not part of the state, because a Decrypt must not write a file; so
 * tracking starts when this KMS starts, and the answers say so.
 */
export class LastUses {
  readonly sinceMs: number;
  readonly #uses = new Map<string, Use>();

  constructor(sinceMs: number) {
    this.sinceMs = sinceMs;
  }

  of({ region, keyId }: KeyRecord): Use | undefined {
    return this.#uses.get(`${region} ${keyId}`);
  }

  /** Records a cryptographic operation that succeeded. A dry run does not count. */
  add({ region, keyId }: KeyRecord, use: Use): void {
    this.#uses.set(`${region} ${keyId}`, use);
  }
}
