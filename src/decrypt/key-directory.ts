import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import type { DataKey } from '../format/encryption-scheme.ts';
import { type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import { unwrapStoredKey } from '../keyring/unwrap.ts';
import type { KeyStore } from '../keystore/store.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import { startDeadline } from '../kms/retry.ts';
import type { DataKeys } from './data-keys.ts';

export interface KeyDirectoryParts {
  readonly store: KeyStore;
  /** The context that keys without a sidecar may be bound to. */
  readonly context: EncryptionContext;
  /** Connects to KMS; called once, for the first key. */
  readonly connect: () => Promise<UnwrapCaller>;
  readonly clock: Clock;
}

const UNWRAP_MS = 60_000;

/** The plugin's own keys: KMS unwraps each version when it is first asked for. */
export class KeyDirectoryKeys implements DataKeys {
  readonly place: string;
  readonly #parts: KeyDirectoryParts;
  readonly #keys = new Map<string, Promise<readonly DataKey[]>>();
  readonly #bytes: Uint8Array[] = [];
  #caller: Promise<UnwrapCaller> | undefined;
  #isWiped = false;

  constructor(parts: KeyDirectoryParts) {
    this.place = `the ${parts.store.named.what} ${parts.store.place}`;
    this.#parts = parts;
  }

  candidates(id: KeyId, version: KeyVersion): Promise<readonly DataKey[]> {
    const name = { id, version };
    const file = keyFileName(name);
    const known = this.#keys.get(file);
    if (known !== undefined) return known;
    const keys = this.#unwrap(name);
    this.#keys.set(file, keys);
    return keys;
  }

  wipe(): void {
    this.#isWiped = true;
    for (const bytes of this.#bytes) wipe(bytes);
  }

  async #unwrap(name: KeyName): Promise<readonly DataKey[]> {
    const { store, context, connect, clock } = this.#parts;
    const stored = await store.readToUnwrap(name).catch((thrown: unknown) => {
      const error = toKeyError(thrown);
      if (error.code === 'KEY_UNKNOWN') return undefined;
      throw error;
    });
    if (stored === undefined) return [];
    this.#caller ??= connect();
    const caller = await this.#caller;
    const deadline = startDeadline(clock, UNWRAP_MS);
    try {
      const { plaintext, algorithm } = await unwrapStoredKey(caller, context, name, stored, deadline);
      this.#bytes.push(plaintext);
      // The source was given up while KMS was asked.
      if (this.#isWiped) wipe(plaintext);
      return [{ bytes: plaintext, algorithm }];
    } finally {
      deadline.cancel();
    }
  }
}
