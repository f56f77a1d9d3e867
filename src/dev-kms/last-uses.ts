import type { KeyRecord } from './state.ts';

export interface Use {
  readonly operation: string;
  readonly atMs: number;
  readonly eventId: string;
  /** Undefined: in this process, without a request. */
  readonly requestId: string | undefined;
}

/**
 * When each key was last used, of each Region apart. Not in the state: a Decrypt must not write a file. So it is known since
 * this KMS began, which is what it gives as the start of its tracking.
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

  /** A cryptographic operation that succeeded; a dry run is none. */
  add({ region, keyId }: KeyRecord, use: Use): void {
    this.#uses.set(`${region} ${keyId}`, use);
  }
}
