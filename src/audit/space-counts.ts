import { isInDoublewrite, TRX_SYS_PAGE } from '../format/innodb/doublewrite.ts';
import type { SpaceLayout } from '../format/innodb/layout.ts';
import type { PageHeader } from '../format/innodb/page-header.ts';
import { count, type PageCounts, VersionCounts } from './counts.ts';

/** Pages of a tablespace by what their headers say. */
export interface SpacePages {
  readonly pages: number;
  /** Encrypted pages by key version. */
  readonly versions: ReadonlyMap<number, PageCounts>;
  /** Pages in clear, without those that InnoDB never encrypts. */
  readonly clear: PageCounts;
  /** Pages of SPATIAL indexes among them, which InnoDB does not encrypt in forms before full_crc32. */
  readonly spatial: number;
  /** Encrypted pages of a temporary tablespace, which name no key version. */
  readonly unnamed: number;
  readonly alwaysClear: number;
  readonly empty: number;
  /** Copies of pages, also of other tablespaces, in the doublewrite area. */
  readonly copies: number;
  /** Pages whose header is none of theirs or whose checksum is wrong, after they were read again. */
  readonly strangePages: number;
  /** The first of them. */
  readonly strange: readonly number[];
}

/** Pages whose header was strange, to read again and to report. More than that are damage, and no writes under way. */
const MOST_STRANGE = 256;

/** Kinds of pages whose header names no key version. `encrypted`: of a temporary tablespace. */
export type UnnamedKind = 'encrypted' | 'spatial' | 'other';

/** Counts the pages of a tablespace by what their headers say. */
export class SpaceCounts {
  readonly #layout: SpaceLayout;
  readonly #doublewrite: readonly number[];
  readonly #versions = new VersionCounts();
  readonly #clear: PageCounts = { used: 0, free: 0 };
  /** The first of them. */
  readonly strange: number[] = [];
  #strangePages = 0;
  #pages = 0;
  #spatial = 0;
  #unnamed = 0;
  #alwaysClear = 0;
  #empty = 0;
  #copies = 0;

  constructor(layout: SpaceLayout, doublewrite: readonly number[]) {
    this.#layout = layout;
    this.#doublewrite = doublewrite;
  }

  /** Tells whether a page of that key version was counted already; 0 is always known. */
  knows(version: number): boolean {
    return version === 0 || this.#versions.byVersion.has(version);
  }

  isCopy(number: number): boolean {
    // Few tablespaces have such an area, and this is asked of every page.
    return this.#doublewrite.length > 0 && isInDoublewrite(this.#doublewrite, this.#layout.pagesOfExtent, number);
  }

  add(number: number, header: PageHeader, isFree: boolean, kind: UnnamedKind): void {
    this.#pages += 1;
    this.#note(number, header, isFree, kind);
  }

  /** Counts a page again that was strange. */
  addAgain(number: number, header: PageHeader, isFree: boolean, kind: UnnamedKind): void {
    this.#strangePages -= 1;
    this.#note(number, header, isFree, kind);
  }

  #note(number: number, header: PageHeader, isFree: boolean, kind: UnnamedKind): void {
    if (this.isCopy(number)) {
      this.#copies += 1;
      return;
    }
    if (header === 'empty') this.#empty += 1;
    else if (header === 'strange') this.#noteStrange(number);
    else if (header === 0 && this.#staysClear(number)) this.#alwaysClear += 1;
    else if (header === 0 && kind === 'encrypted') this.#unnamed += 1;
    else if (header === 0) {
      count(this.#clear, isFree);
      if (kind === 'spatial' && !isFree) this.#spatial += 1;
    } else this.#versions.add(header, isFree);
  }

  result(): SpacePages {
    return {
      pages: this.#pages,
      versions: this.#versions.byVersion,
      clear: this.#clear,
      spatial: this.#spatial,
      unnamed: this.#unnamed,
      alwaysClear: this.#alwaysClear,
      empty: this.#empty,
      copies: this.#copies,
      strange: this.strange,
      strangePages: this.#strangePages,
    };
  }

  #noteStrange(number: number): void {
    this.#strangePages += 1;
    if (this.strange.length < MOST_STRANGE) this.strange.push(number);
  }

  #staysClear(number: number): boolean {
    return number % this.#layout.fileBytes === 0 || (this.#layout.id === 0 && number === TRX_SYS_PAGE);
  }
}
