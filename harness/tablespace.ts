/** Whole tablespaces of InnoDB, as MariaDB encrypts them with AES-CBC: pages of 16 KiB in the format full_crc32. */
import { PAGE_HEAD, saysItsTablespace } from '../src/format/innodb/judged-page.ts';
import { readTablespace } from '../src/format/innodb/tablespace.ts';

const PAGE = 16_384;

export interface EncryptedPage {
  readonly number: number;
  readonly keyVersion: number;
}

export function encryptedPages(tablespace: Buffer): EncryptedPage[] {
  const pages: EncryptedPage[] = [];
  for (let number = 0; (number + 1) * PAGE <= tablespace.length; number += 1) {
    const keyVersion = tablespace.readUInt32BE(number * PAGE);
    if (keyVersion !== 0) pages.push({ number, keyVersion });
  }
  return pages;
}

/** Tells whether the page was encrypted with this data key: decrypted, it names its tablespace. */
export function isEncryptedWith(key: Uint8Array, tablespace: Buffer, page: number): boolean {
  const { layout, crypt } = readTablespace((at, bytes) => tablespace.subarray(at, at + bytes)) ?? {};
  if (layout === undefined || crypt?.isEncrypted !== true) throw new Error('no page of this tablespace is encrypted');
  const head = tablespace.subarray(page * PAGE).subarray(0, PAGE_HEAD);
  return saysItsTablespace({ layout, crypt }, head, { bytes: key, algorithm: 'AES_CBC' });
}
