import type { KeyError } from '../errors.ts';
import { type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { KeyStore, Listing } from '../keystore/store.ts';
import { filesGone, storeShrunk } from './refusals.ts';

/**
 * Compares the versions that the server has with those that the store lists: none may disappear, and none may be
 * created again.
 */
export class KnownVersions {
  readonly #store: KeyStore;
  readonly #unnamedHeld: number;
  /** Names of key files, as messages list them. */
  readonly #known = new Set<string>();

  /** @param unnamedHeld the number of key versions that the server has and that no `add` names */
  constructor(store: KeyStore, unnamedHeld: number) {
    this.#store = store;
    this.#unnamedHeld = unnamedHeld;
  }

  add(name: KeyName): void {
    this.#known.add(keyFileName(name));
  }

  /** Tells whether the server has no version yet. */
  get isEmpty(): boolean {
    return this.#known.size === 0 && this.#unnamedHeld === 0;
  }

  has(name: KeyName): boolean {
    return this.#known.has(keyFileName(name));
  }

  /**
   * Lists the store. Rule: nothing is created while key files are missing, for example because a file system is not
   * mounted.
   * @returns `shrunk` when the store lacks versions that the server has
   * @throws KeyError STORE_UNAVAILABLE
   */
  async list(): Promise<{ readonly listing: Listing; readonly shrunk: KeyError | undefined }> {
    const { place } = this.#store;
    // A version created during the listing may be listed or not.
    const known = [...this.#known];
    const listing = await this.#store.list();
    const there = [...listing.stored, ...listing.retired];
    const listed = new Set(known.length === 0 ? [] : there.map(keyFileName));
    const gone = known.filter((file) => !listed.has(file)).sort();
    if (gone.length > 0) return { listing, shrunk: filesGone(place, gone) };
    const { length } = there;
    if (length < this.#unnamedHeld) return { listing, shrunk: storeShrunk(place, length, this.#unnamedHeld) };
    return { listing, shrunk: undefined };
  }

  /** @throws KeyError STORE_UNAVAILABLE, also when the store lacks versions that the server has */
  async listWhole(): Promise<Listing> {
    const { listing, shrunk } = await this.list();
    if (shrunk !== undefined) throw shrunk;
    return listing;
  }
}
