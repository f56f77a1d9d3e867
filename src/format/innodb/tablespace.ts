/** Page 0 of an InnoDB tablespace: how its pages are laid out and encrypted. */
import { CRYPT_BLOCK_BYTES, type CryptBlock, parseCryptBlock } from './crypt-block.ts';
import { cryptBlockAt, LAYOUT_HEAD, parseLayout, type SpaceLayout } from './layout.ts';
import { FIELD, PAGE_TYPE } from './page-fields.ts';

/** Reads from a file; returns fewer bytes at its end. */
export type ReadAt = (offset: number, length: number) => Buffer;

export interface Tablespace {
  readonly layout: SpaceLayout;
  /** Undefined: the server that made the tablespace knew no encryption of it. */
  readonly crypt: CryptBlock | undefined;
}

/** Returns undefined for a file that does not begin like a tablespace. */
export function readTablespace(read: ReadAt): Tablespace | undefined {
  const head = read(0, LAYOUT_HEAD);
  const layout = head.length < LAYOUT_HEAD ? undefined : parseLayout(head);
  if (layout === undefined) return undefined;
  return { layout, crypt: parseCryptBlock(read(cryptBlockAt(layout), CRYPT_BLOCK_BYTES)) };
}

/** Tells whether the file begins like the system tablespace. */
export function isSystemTablespace(read: ReadAt): boolean {
  const head = read(0, LAYOUT_HEAD);
  if (head.length < LAYOUT_HEAD) return false;
  return head.readUInt16BE(FIELD.type) === PAGE_TYPE.spaceHeader && head.readUInt32BE(FIELD.spaceId) === 0;
}
