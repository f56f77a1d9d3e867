/** The doublewrite area of the system tablespace (MariaDB's trx0sys.h): where copies of other pages lie. */

/** The page of the system tablespace that names the area. */
export const TRX_SYS_PAGE = 5;
const FROM_END = 200;
const [MAGIC_AT, FIRST, SECOND] = [10, 14, 18];
const MAGIC = 536_853_855;

/** @returns the first page of each of the two blocks, which are extents; none where no area was made yet */
export function doublewriteBlocks(page: Buffer): readonly number[] {
  const at = page.length - FROM_END;
  if (at < 0 || page.readUInt32BE(at + MAGIC_AT) !== MAGIC) return [];
  return [page.readUInt32BE(at + FIRST), page.readUInt32BE(at + SECOND)];
}

export function isInDoublewrite(blocks: readonly number[], pagesOfExtent: number, page: number): boolean {
  return blocks.some((first) => page >= first && page < first + pagesOfExtent);
}
