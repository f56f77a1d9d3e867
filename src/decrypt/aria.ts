/** Decrypts Aria tables, or checks that they decrypt. */
import type { OpenDataFile } from '../data/data-files.ts';
import type { NewFile } from '../disk/new-file.ts';
import { KeyError } from '../errors.ts';
import {
  ARIA_BLOB,
  ARIA_FREE,
  ARIA_HEAD,
  ARIA_TAIL,
  AriaCipher,
  ariaIndexHeader,
  ariaPageType,
  ariaVersionAt,
  clearAriaIndexPage,
  sealAriaPage,
} from '../format/aria-cipher.ts';
import { ARIA_HEADER_MOST, type AriaLayout, clearAriaHeader, parseAriaLayout } from '../format/aria-layout.ts';
import { ariaBitmapEvery, ariaBits, FULL_TAIL, finishAriaPage, setAriaBits } from '../format/aria-page.ts';
import { ARIA_KEY_ID } from '../format/aria-table.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { isKeyVersion, keyId } from '../ids.ts';
import { nextTurn } from '../next-turn.ts';
import { type AriaPages, moveLongRows } from './aria-rows.ts';
import type { DataKeys } from './data-keys.ts';

type Source = Pick<OpenDataFile, 'readInto' | 'bytes'>;
type Target = Pick<NewFile, 'read' | 'write'>;

/** The two files of a table. */
export interface AriaTableFiles<T> {
  readonly index: T;
  readonly data: T;
}

export interface DecryptedAria {
  /** Encrypted pages of both files. */
  readonly pages: number;
  /** The key versions of the pages; empty if the table is not encrypted, or has no rows. */
  readonly versions: readonly number[];
  readonly algorithm: EncryptionAlgorithm | undefined;
  /** True: the table was open when it was copied, or its server was killed. */
  readonly wasOpen: boolean;
  readonly damagedPages: number;
  /** The first of them. */
  readonly damaged: readonly DamagedPage[];
}

export interface VerifiedAria extends DecryptedAria {
  /** A sentence for each file whose end is missing. */
  readonly cut: readonly string[];
}

export interface DamagedPage {
  readonly file: 'MAI' | 'MAD';
  readonly page: number;
  readonly text: string;
}

/** Damaged pages to name: a table with another key has as many as pages. */
const MOST_NAMED = 100;
const TEMPORARY_KEY_ID = 2;
/** Bytes to copy at once, and pages to decrypt before yielding to the event loop. */
const [CHUNK_BYTES, PAGES_A_TURN] = [2 ** 18, 512];

/**
 * Writes a copy in clear of a table, or a mere copy if it is not encrypted.
 * @param name the table's in messages
 * @throws KeyError DATA_UNREADABLE for the first damaged page or row and for what is no Aria table, and KEY_UNKNOWN
 */
export async function decryptAria(
  name: string,
  from: AriaTableFiles<Source>,
  to: AriaTableFiles<Target>,
  keys: Keys,
  signal: AbortSignal,
): Promise<DecryptedAria> {
  const header = readHeader(name, from.index);
  const { layout } = header;
  const [cut] = cutFiles(layout, from);
  if (cut !== undefined) throw new KeyError('DATA_UNREADABLE', `${name}: ${cut}`, { hint: 'copy the table again' });
  if (layout.crypt === undefined) {
    await copy(from.index, to.index, signal);
    await copy(from.data, to.data, signal);
    return { pages: 0, versions: [], algorithm: undefined, wasOpen: false, damagedPages: 0, damaged: [] };
  }
  const reader = new AriaReader(name, layout, layout.crypt, keys, (page) => {
    throw new KeyError('DATA_UNREADABLE', `${name}: ${page.text}`);
  });
  try {
    clearAriaHeader(header.bytes, layout);
    to.index.write(header.bytes, 0);
    await reader.index(from.index, signal, (page, number) => {
      clearAriaIndexPage(layout, page, number);
      to.index.write(page, number * layout.blockSize);
    });
    await reader.data(from.data, signal, (page, number) => to.data.write(page, number * layout.blockSize));
    if (layout.hasDataPages)
      await rearrange(name, layout, to.data, Math.floor(from.data.bytes / layout.blockSize), signal);
    return reader.result;
  } catch (error) {
    // Numbers of a damaged header, or of a page with a right checksum, that point elsewhere.
    if (!(error instanceof RangeError)) throw error;
    throw new KeyError('DATA_UNREADABLE', `${name}: it is damaged: ${error.message}`, { cause: error });
  } finally {
    reader.wipe();
  }
}

/** Checks that every encrypted page decrypts. @throws KeyError for what is no Aria table, and KEY_UNKNOWN */
export async function verifyAria(
  name: string,
  { index, data }: { readonly index: Source; readonly data: Source | undefined },
  keys: Keys,
  signal: AbortSignal,
): Promise<VerifiedAria> {
  const damaged: DamagedPage[] = [];
  let damagedPages = 0;
  const { layout } = readHeader(name, index);
  const cut = cutFiles(layout, { index, data });
  if (layout.crypt === undefined)
    return { pages: 0, versions: [], algorithm: undefined, wasOpen: false, cut, damagedPages: 0, damaged };
  const reader = new AriaReader(name, layout, layout.crypt, keys, (page) => {
    damagedPages += 1;
    if (damaged.length < MOST_NAMED) damaged.push(page);
  });
  try {
    await reader.index(index, signal, () => undefined);
    if (data !== undefined) await reader.data(data, signal, () => undefined);
    return { ...reader.result, cut, damagedPages, damaged };
  } finally {
    reader.wipe();
  }
}

type Keys = Pick<DataKeys, 'candidates' | 'place'>;

function readHeader(name: string, index: Source): { readonly layout: AriaLayout; readonly bytes: Buffer } {
  const head = Buffer.alloc(ARIA_HEADER_MOST);
  const layout = parseAriaLayout(head.subarray(0, index.readInto(head, 0)));
  if (layout === undefined) throw new KeyError('DATA_UNREADABLE', `${name}: it is no Aria table`);
  const bytes = Buffer.alloc(layout.firstIndexPage);
  index.readInto(bytes, 0);
  return { layout, bytes };
}

/**
 * Compares both files with what the header says of them. A server whose tables are open writes their pages later than
 * their lengths, so that nothing is said of these lengths.
 */
function cutFiles(
  { openCount, indexBytes, dataBytes, blockSize, hasDataPages }: AriaLayout,
  { index, data }: { readonly index: Source; readonly data: Source | undefined },
): readonly string[] {
  const cut: string[] = [];
  const look = (file: DamagedPage['file'], source: Source, expected: number, inPages: boolean): void => {
    const rest = inPages ? source.bytes % blockSize : 0;
    const text =
      openCount === 0 && source.bytes < expected
        ? `the .${file} file was cut: it has ${source.bytes} of ${expected} bytes`
        : `the .${file} file was cut: its last ${rest} bytes are no whole page`;
    if (rest > 0 || (openCount === 0 && source.bytes < expected)) cut.push(text);
  };
  look('MAI', index, indexBytes, true);
  if (data !== undefined) look('MAD', data, dataBytes, hasDataPages);
  return cut;
}

async function copy({ readInto }: Source, to: Target, signal: AbortSignal): Promise<void> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let offset = 0;
  for (let got = -1; got !== 0; offset += got) {
    signal.throwIfAborted();
    got = readInto(chunk, offset);
    to.write(chunk.subarray(0, got), offset);
    await nextTurn();
  }
}

/** Decrypts the pages of both files. */
class AriaReader {
  readonly #name: string;
  readonly #layout: AriaLayout;
  readonly #crypt: NonNullable<AriaLayout['crypt']>;
  readonly #keys: Keys;
  readonly #fail: (page: DamagedPage) => void;
  readonly #ciphers = new Map<number, AriaCipher>();
  #algorithm: EncryptionAlgorithm | undefined;
  #pages = 0;

  constructor(
    name: string,
    layout: AriaLayout,
    crypt: NonNullable<AriaLayout['crypt']>,
    keys: Keys,
    fail: (page: DamagedPage) => void,
  ) {
    this.#name = name;
    this.#layout = layout;
    this.#crypt = crypt;
    this.#keys = keys;
    this.#fail = fail;
  }

  get result(): DecryptedAria {
    return {
      pages: this.#pages,
      versions: [...this.#ciphers.keys()].sort((a, b) => a - b),
      algorithm: this.#algorithm,
      wasOpen: this.#layout.openCount > 0,
      damagedPages: 0,
      damaged: [],
    };
  }

  wipe(): void {
    for (const cipher of this.#ciphers.values()) cipher.wipe();
  }

  /** Calls `take` with each index page that was ever written. */
  async index(file: Source, signal: AbortSignal, take: (page: Buffer, number: number) => void): Promise<void> {
    const { blockSize, firstIndexPage } = this.#layout;
    const { versionAt } = ariaIndexHeader(this.#layout);
    await this.#eachPage(file, firstIndexPage / blockSize, signal, async (page, number) => {
      if (isZero(page)) return;
      const version = page.readUInt32LE(versionAt);
      if (await this.#decrypt('MAI', page, number, version)) take(page, number);
    });
  }

  /** Calls `take` with each data page, in clear; pages that are free become zeros. */
  async data(file: Source, signal: AbortSignal, take: (page: Buffer, number: number) => void): Promise<void> {
    const every = ariaBitmapEvery(this.#layout.blockSize);
    let bitmap = Buffer.alloc(this.#layout.blockSize);
    await this.#eachPage(file, 0, signal, async (page, number) => {
      const index = number % every;
      if (index === 0) bitmap = Buffer.from(page);
      // The bitmap of a table that is open may be older than its pages.
      const isFree = this.#layout.openCount === 0 && index > 0 && ariaBits(bitmap, index) === 0;
      if (isFree || isZero(page) || ariaPageType(page) === ARIA_FREE) {
        if (index > 0) page.fill(0);
        take(page, number);
      } else if (index === 0) take(page, number);
      else if (await this.#decrypt('MAD', page, number, page.readUInt32LE(ariaVersionAt(page)))) take(page, number);
    });
  }

  async #eachPage(
    { readInto, bytes }: Source,
    first: number,
    signal: AbortSignal,
    look: (page: Buffer, number: number) => Promise<void>,
  ): Promise<void> {
    const { blockSize } = this.#layout;
    const page = Buffer.alloc(blockSize);
    const end = Math.floor(bytes / blockSize);
    for (let number = first; number < end; number += 1) {
      if (number % PAGES_A_TURN === 0) await nextTurn();
      signal.throwIfAborted();
      if (readInto(page, number * blockSize) < blockSize) return;
      await look(page, number);
    }
  }

  async #decrypt(file: DamagedPage['file'], page: Buffer, number: number, version: number): Promise<boolean> {
    this.#pages += 1;
    const known = this.#ciphers.get(version);
    const isRight =
      known === undefined
        ? await this.#tryCandidates(file, page, number, version)
        : decryptPage(known, file, page, number);
    if (!isRight) {
      const reason =
        version === 0 ? 'it is not encrypted' : `it does not decrypt with version ${version}: its checksum is wrong`;
      this.#fail({ file, page: number, text: `page ${number} of the .${file} file: ${reason}` });
    }
    return isRight;
  }

  async #tryCandidates(file: DamagedPage['file'], page: Buffer, number: number, version: number): Promise<boolean> {
    if (version === 0) return false;
    for (const key of await this.#candidates(version)) {
      const cipher = new AriaCipher(this.#layout, this.#crypt, key);
      const clear = Buffer.from(page);
      if (decryptPage(cipher, file, clear, number)) {
        this.#ciphers.set(version, cipher);
        this.#algorithm = key.algorithm;
        clear.copy(page);
        return true;
      }
      cipher.wipe();
    }
    return false;
  }

  async #candidates(version: number): Promise<Awaited<ReturnType<Keys['candidates']>>> {
    const ids = this.#layout.isTemporary ? [TEMPORARY_KEY_ID, ARIA_KEY_ID] : [ARIA_KEY_ID];
    for (const id of ids) {
      const found = isKeyVersion(version) ? await this.#keys.candidates(keyId(id), version) : [];
      if (found.length > 0) return found;
    }
    throw new KeyError(
      'KEY_UNKNOWN',
      `${this.#name}: key ${ids.join(' or ')} version ${version}: ${this.#keys.place} has no such key`,
    );
  }
}

function decryptPage(cipher: AriaCipher, file: DamagedPage['file'], page: Buffer, number: number): boolean {
  return file === 'MAI' ? cipher.decryptIndex(page, number) : cipher.decryptData(page, number);
}

function isZero(page: Buffer): boolean {
  return page.every((byte) => byte === 0);
}

/** Gives the decrypted pages of the copy the form that they have in a table in clear. */
async function rearrange(
  name: string,
  layout: AriaLayout,
  file: Target,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const { blockSize, blobs } = layout;
  const claimed = new Uint8Array(count);
  const pages: AriaPages = {
    read: (number) => {
      if (number >= count) throw new RangeError(`there is no page ${number}`);
      const page = Buffer.alloc(blockSize);
      file.read(page, number * blockSize);
      return page;
    },
    write: (number, page) => file.write(page, number * blockSize),
    claim: (number) => {
      const isFirst = claimed[number] !== 1;
      claimed[number] = 1;
      return isFirst;
    },
  };
  const every = ariaBitmapEvery(blockSize);
  const each = async (look: (page: Buffer, number: number) => void): Promise<void> => {
    for (let number = 0; number < count; number += 1) {
      if (number % PAGES_A_TURN === 0) await nextTurn();
      signal.throwIfAborted();
      look(pages.read(number), number);
    }
  };
  const inUse = new Uint8Array(count);
  await each((page, number) => {
    if (number % every === 0 || ariaPageType(page) !== ARIA_HEAD) return;
    for (const used of moveLongRows(name, layout, page, number, pages)) inUse[used] = 1;
    pages.write(number, page);
  });
  let bitmap: Buffer = Buffer.alloc(0);
  const writeBitmap = (number: number): void => {
    if (bitmap.length === 0) return;
    sealAriaPage(bitmap, number);
    pages.write(number, bitmap);
  };
  await each((page, number) => {
    const index = number % every;
    if (index === 0) {
      writeBitmap(number - every);
      bitmap = page;
      return;
    }
    setAriaBits(bitmap, index, bitsOf(page, number));
  });
  writeBitmap(count - 1 - ((count - 1) % every));

  /** Completes a data page. */
  function bitsOf(page: Buffer, number: number): number {
    const type = ariaPageType(page);
    if (type === ARIA_BLOB && inUse[number] === 1) return FULL_TAIL;
    const bits = type === ARIA_HEAD || type === ARIA_TAIL ? finishAriaPage(page, number, blobs) : 0;
    if (bits === 0) {
      page.fill(0);
      // `aria_chk --zerofill` reads free pages, too.
      sealAriaPage(page, number);
    }
    pages.write(number, page);
    return bits;
  }
}
