/** Decrypts a range of a tablespace's pages. It runs in the thread of a command, or in several others. */
import { readSync, writeSync } from 'node:fs';
import { systemErrorCode } from '../../errors.ts';
import type { DataKey } from '../../format/encryption-scheme.ts';
import { CRYPT_BLOCK_BYTES } from '../../format/innodb/crypt-block.ts';
import { isInDoublewrite } from '../../format/innodb/doublewrite.ts';
import { cryptBlockAt, isFreePage, type SpaceLayout } from '../../format/innodb/layout.ts';
import { hasItsEnd, pageDamage, sealPage, writtenBytes } from '../../format/innodb/page-checksum.ts';
import { PageCipher } from '../../format/innodb/page-cipher.ts';
import { COMPRESSED_BIT, FIELD, PAGE_TYPE } from '../../format/innodb/page-fields.ts';
import { readPageHeader } from '../../format/innodb/page-header.ts';
import { type Proof, proofOf } from '../../format/innodb/page-proof.ts';
import { emptyResult, type FailureReason, MOST_FAILURES, type PagesResult, versionOf } from './result.ts';

/** A tablespace and its open files. Plain values, which threads can pass to each other. */
export interface OpenSpace {
  readonly layout: SpaceLayout;
  /** The crypt block of page 0; undefined: there is none. */
  readonly crypt: { readonly keyId: number; readonly iv: Uint8Array; readonly isEncrypted: boolean } | undefined;
  /** First pages of the blocks of the doublewrite area. */
  readonly doublewrite: readonly number[];
  /** Pages of the tablespace, in all its files. */
  readonly spacePages: number;
  /** Number of the first page in the file: above 0 for further files of the system tablespace. */
  readonly firstPage: number;
  /** Descriptor to read from. */
  readonly input: number;
  /** Descriptor of a file of holes to write to; undefined: the pages are only verified. */
  readonly output: number | undefined;
}

/** Returns the candidates of a version of the tablespace's key; none: the version cannot be had. */
export type KeysOfVersion = (version: number) => Promise<readonly DataKey[]>;

/** Bytes to read at once: the fastest size. */
const CHUNK_BYTES = 262_144;
/** A server may be writing a page: it is read again. */
const [MOST_READS, READ_AGAIN_MS, MOST_AGAIN] = [4, 20, 64];
/** Pages on which CBC and CTR are tried. */
const MOST_TRIED = 1_024;
/** Page-compressed pages are written up to a multiple of it. */
const BLOCK = 4_096;
/** Offset of the length of an older page-compressed page in clear, and of its payload. */
const [PAYLOAD_LENGTH, PAYLOAD] = [38, 40];
const ZEROS = Buffer.alloc(65_536);
/** Reasons of whole pages, which a server was not writing. */
const OF_KEY: readonly FailureReason[] = ['no key', 'wrong key', 'undecided'];

/** Thrown for an error of writing, which is none of the file that is read. */
export class OutputError extends Error {
  /** The system's. */
  readonly code: string;

  constructor(code: string, cause?: unknown) {
    super(`cannot write: ${code}`, { cause });
    this.code = code;
  }
}

type KeyReason = 'no key' | 'wrong key' | 'contents' | 'undecided';

interface VersionCipher {
  readonly cipher: PageCipher;
  readonly key: DataKey;
}

export class Pages {
  readonly #space: OpenSpace;
  readonly #keys: KeysOfVersion;
  readonly #pause: (ms: number) => void;
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  /** Versions of pages that were whole. */
  readonly #ciphers = new Map<number, VersionCipher | KeyReason>();
  #again = 0;
  /** True: pages are given out, and need a checksum. */
  #seals: boolean;

  /** @param pause stops the thread for milliseconds */
  constructor(space: OpenSpace, keys: KeysOfVersion, pause: (ms: number) => void) {
    this.#space = space;
    this.#keys = keys;
    this.#pause = pause;
    this.#seals = space.output !== undefined;
  }

  wipe(): void {
    this.#chunk.fill(0);
    for (const found of this.#ciphers.values()) if (typeof found !== 'string') found.cipher.wipe();
  }

  /** @throws OutputError, and the system's errors of reading as they come */
  async range(from: number, to: number): Promise<PagesResult> {
    const { fileBytes } = this.#space.layout;
    const result = emptyResult();
    for (let number = from; number < to; ) {
      const most = Math.min(Math.floor(CHUNK_BYTES / fileBytes), to - number);
      const chunk = this.#chunk.subarray(0, most * fileBytes);
      const pages = Math.floor(this.#read(chunk, number) / fileBytes);
      if (pages === 0) break;
      // Bytes of the chunk that are to be written, and do not follow each other's end.
      let [begin, end] = [0, 0];
      for (let index = 0; index < pages; index += 1) {
        const at = index * fileBytes;
        const page = chunk.subarray(at, at + fileBytes);
        await this.#page(page, number + index, result);
        if (this.#space.output === undefined) continue;
        const kept = this.#keptBytes(page);
        if (end !== at) {
          this.#write(chunk.subarray(begin, end), this.#offsetOf(number) + begin);
          begin = at;
        }
        end = at + kept;
      }
      this.#write(chunk.subarray(begin, end), this.#offsetOf(number) + begin);
      number += pages;
    }
    return result;
  }

  /** Reads one page. A free page that is not right is not blanked here. */
  async one(
    number: number,
  ): Promise<{ readonly page: Buffer; readonly result: PagesResult; readonly isFree: boolean }> {
    const result = emptyResult();
    const page = Buffer.alloc(this.#space.layout.fileBytes);
    this.#seals = true;
    this.#read(page, number);
    await this.#page(page, number, result);
    if (result.failedFree + result.copies > 0) this.#read(page, number);
    return { page, result, isFree: this.#isFree(number) };
  }

  /** Makes the page what it is to be in the output, and counts it. */
  async #page(page: Buffer, number: number, result: PagesResult): Promise<void> {
    const { layout, doublewrite } = this.#space;
    result.pages += 1;
    if (isInDoublewrite(doublewrite, layout.pagesOfExtent, number)) {
      if (page.equals(ZEROS.subarray(0, page.length))) result.empty += 1;
      else result.copies += 1;
      // A copy does not tell its tablespace in clear, and a server needs none of a file that was closed properly.
      page.fill(0);
      return;
    }
    let header = this.#header(page, number);
    if (header === 'empty') {
      result.empty += 1;
      return;
    }
    for (let reads = 1; ; reads += 1) {
      const reason = await this.#open(page, number, header, result);
      if (reason === undefined) return;
      this.#read(page, number);
      if (reads === MOST_READS || OF_KEY.includes(reason) || this.#again === MOST_AGAIN) {
        this.#fail(page, number, typeof header === 'number' && header > 0 ? header : undefined, reason, result);
        return;
      }
      this.#again += 1;
      this.#pause(READ_AGAIN_MS);
      this.#read(page, number);
      header = this.#header(page, number);
    }
  }

  #header(page: Buffer, number: number): ReturnType<typeof readPageHeader> {
    const { layout, crypt } = this.#space;
    const header = readPageHeader(layout.form, crypt !== undefined && number > 0, number, page, 0);
    // A page whose beginning was lost is not one that was never written.
    return header === 'empty' && !page.equals(ZEROS.subarray(0, page.length)) ? 'strange' : header;
  }

  /** @returns why the page is not in clear and right; its bytes are then undefined */
  async #open(
    page: Buffer,
    number: number,
    header: ReturnType<typeof readPageHeader>,
    result: PagesResult,
  ): Promise<FailureReason | undefined> {
    const { layout, crypt } = this.#space;
    if (typeof header !== 'number') return 'strange';
    if (header === 0) {
      const damage = pageDamage(layout, crypt !== undefined, number, page);
      if (damage !== undefined) return damage;
      result.clear += 1;
      if (number === 0) stripCryptBlock(layout, page);
      return undefined;
    }
    const known = this.#ciphers.get(header);
    // The version in a damaged page is perhaps none.
    const damage = known === undefined ? pageDamage(layout, true, number, page) : undefined;
    if (damage !== undefined) return damage;
    const found = known ?? (await this.#load(header));
    if (typeof found === 'string') return pageDamage(layout, true, number, page) ?? found;
    const { proof, reason } = decrypt(layout, found.cipher, page, this.#seals);
    if (proof === undefined) return reason;
    const version = versionOf(result, header);
    version.proofs[proof] += 1;
    version.algorithm ??= found.key.algorithm;
    return undefined;
  }

  #fail(page: Buffer, number: number, version: number | undefined, reason: FailureReason, result: PagesResult): void {
    const isFree = this.#isFree(number);
    const counts = version !== undefined && this.#ciphers.has(version) ? versionOf(result, version) : undefined;
    if (isFree) {
      result.freeReason ??= reason;
      // A free page holds nothing, but a server that imports the file reads it.
      page.fill(0);
      result.failedFree += 1;
      if (counts !== undefined) counts.failedFree += 1;
      return;
    }
    result.failed += 1;
    if (reason === 'wrong key') result.wrongKey += 1;
    if (counts !== undefined) counts.failed += 1;
    if (result.failures.length === MOST_FAILURES) return;
    const lsn = page.readBigUInt64BE(FIELD.lsn).toString();
    result.failures.push({ page: number, version, lsn, type: page.readUInt16BE(FIELD.type), reason });
  }

  /** Asks the page that describes the extents around. */
  #isFree(number: number): boolean {
    const { layout } = this.#space;
    const inGroup = number % layout.fileBytes;
    if (inGroup === 0) return false;
    const descriptors = Buffer.alloc(layout.fileBytes);
    const group = number - inGroup;
    if (this.#read(descriptors, group) < descriptors.length) return false;
    return pageDamage(layout, true, group, descriptors) === undefined && isFreePage(layout, descriptors, inGroup) === 1;
  }

  async #load(version: number): Promise<VersionCipher | KeyReason> {
    const { layout, crypt } = this.#space;
    const keys = crypt === undefined ? [] : await this.#keys(version);
    const ciphers = keys.map((key) => ({ key, cipher: new PageCipher(layout, crypt?.iv ?? ZEROS, key) }));
    const [only = 'no key'] = ciphers;
    const found = ciphers.length > 1 ? this.#chosen(version, ciphers) : only;
    for (const other of ciphers) if (other !== found) other.cipher.wipe();
    this.#ciphers.set(version, found);
    return found;
  }

  /** Tries each cipher on pages of the version until one shows that it is right. */
  #chosen(version: number, ciphers: readonly VersionCipher[]): VersionCipher | 'wrong key' | 'contents' | 'undecided' {
    const { layout } = this.#space;
    const page = Buffer.allocUnsafeSlow(layout.fileBytes);
    const tried = Buffer.allocUnsafeSlow(layout.fileBytes);
    try {
      let tries = 0;
      let isPossible = false;
      let isWrong = false;
      for (
        let number = Math.max(1, this.#space.firstPage);
        tries < MOST_TRIED && this.#read(page, number) === page.length;
        number += 1
      ) {
        if (this.#header(page, number) !== version) continue;
        tries += 1;
        for (const each of ciphers) {
          page.copy(tried);
          const { proof, reason } = decrypt(layout, each.cipher, tried, false);
          if (proof !== undefined && proof !== 'unproven') return each;
          isPossible ||= proof === 'unproven';
          isWrong ||= reason === 'wrong key';
        }
      }
      if (isPossible) return 'undecided';
      return isWrong ? 'wrong key' : 'contents';
    } finally {
      tried.fill(0);
    }
  }

  /** Returns the bytes of a page that are to be written; what follows them stays a hole. */
  #keptBytes(page: Buffer): number {
    const { layout } = this.#space;
    const type = page.readUInt16BE(FIELD.type);
    if (layout.form === 'full_crc32' && (type & COMPRESSED_BIT) !== 0)
      return Math.min(page.length, Math.ceil(writtenBytes(layout, page) / BLOCK) * BLOCK);
    if (layout.form === 'older' && type === PAGE_TYPE.pageCompressed)
      return Math.min(page.length, Math.ceil((PAYLOAD + page.readUInt16BE(PAYLOAD_LENGTH)) / BLOCK) * BLOCK);
    return type === 0 && page.equals(ZEROS.subarray(0, page.length)) ? 0 : page.length;
  }

  #offsetOf(page: number): number {
    return (page - this.#space.firstPage) * this.#space.layout.fileBytes;
  }

  #read(into: Buffer, page: number): number {
    const offset = this.#offsetOf(page);
    // The page is in another file of the tablespace.
    if (offset < 0) return 0;
    let size = 0;
    for (let got = -1; got !== 0 && size < into.length; size += got)
      got = readSync(this.#space.input, into, size, into.length - size, offset + size);
    return size;
  }

  #write(bytes: Buffer, offset: number): void {
    const { output } = this.#space;
    if (output === undefined) return;
    try {
      for (let done = 0; done < bytes.length; )
        done += writeSync(output, bytes, done, bytes.length - done, offset + done);
    } catch (error) {
      throw new OutputError(systemErrorCode(error) ?? 'unknown', error);
    }
  }
}

/** Takes the block of the encryption out of page 0, so that a server takes the tablespace for one in clear. */
function stripCryptBlock(layout: SpaceLayout, page: Buffer): void {
  const at = cryptBlockAt(layout);
  page.fill(0, at, at + CRYPT_BLOCK_BYTES);
  sealPage(layout, page);
}

interface Outcome {
  /** Undefined: the page is not decrypted. */
  readonly proof?: Proof;
  readonly reason?: FailureReason;
}

function decrypt(layout: SpaceLayout, cipher: PageCipher, page: Buffer, isSealed: boolean): Outcome {
  const isOlder = layout.form !== 'full_crc32';
  // No checksum of an older page covers it.
  if (isOlder && page.readUInt32BE(FIELD.spaceId) !== layout.id) return { reason: 'tablespace' };
  const hasNoChecksum = isOlder && page.readUInt16BE(FIELD.type) === PAGE_TYPE.pageCompressedEncrypted;
  const problem = cipher.decrypt(page, layout.id, isSealed);
  if (problem !== undefined) return { reason: problem === 'not this key' ? 'wrong key' : problem };
  const proof = proofOf(layout, page, layout.id);
  if (proof === undefined) return { reason: hasNoChecksum ? 'contents' : 'wrong key' };
  // The checksum of an older page does not cover the whole end, which is not encrypted.
  return hasItsEnd(layout, page) ? { proof } : { reason: 'end' };
}
