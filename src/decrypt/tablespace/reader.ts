/** Reads ranges of one tablespace after the other, in the calling thread. */

import { stopFor } from '../../stop-for.ts';
import type { KeysOfVersion, OpenSpace } from './pages.ts';
import { Pages } from './pages.ts';
import type { PagesResult } from './result.ts';

export class SpaceReader {
  readonly #onEnd: () => void;
  #current: { readonly file: number; readonly pages: Pages } | undefined;

  /** @param onEnd called when a tablespace is left */
  constructor(onEnd: () => void = () => undefined) {
    this.#onEnd = onEnd;
  }

  /**
   * @param file number of the tablespace among all
   * @throws OutputError, and the system's errors of reading as they come
   */
  async range(file: number, space: OpenSpace, keys: KeysOfVersion, from: number, to: number): Promise<PagesResult> {
    if (this.#current?.file !== file) {
      this.end();
      this.#current = { file, pages: new Pages(space, keys, stopFor) };
    }
    return await this.#current.pages.range(from, to);
  }

  end(): void {
    this.#current?.pages.wipe();
    this.#current = undefined;
    this.#onEnd();
  }
}
