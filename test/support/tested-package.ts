import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';

/** Has what `npm run package` made. */
export const PACKAGES = join(import.meta.dirname, '../../build/packages');

/** The one package of a kind, and a scratch directory for all tests of a file. */
export class TestedPackage {
  readonly name: string;
  readonly path: string;
  #scratch = '';

  /** @param ending of the file's name, such as `.deb` */
  constructor(ending: string) {
    const found = readdirSync(PACKAGES).filter((file) => file.endsWith(ending));
    this.name = found[0] ?? '';
    this.path = join(PACKAGES, this.name);
    beforeAll(() => {
      expect(found, `packages in build/packages with the ending ${ending}, of \`npm run package\``).toHaveLength(1);
      this.#scratch = mkdtempSync(join(tmpdir(), 'mak-package-'));
    });
    afterAll(() => {
      if (this.#scratch !== '') rmSync(this.#scratch, { recursive: true, force: true });
    });
  }

  /** Path in the scratch directory, which is there while tests and hooks run. */
  scratch(...names: readonly string[]): string {
    return join(this.#scratch, ...names);
  }
}
