import { deflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { proofOf } from '../../../../src/format/innodb/page-proof.ts';
import { clearPage, layoutOf, SPACE_ID } from '../../../support/encrypted-space.ts';

const MB = 1_000_000;

/** A page as decryption leaves it, whose compressed content is any. */
function pageWith(stream: Buffer): Buffer {
  const page = clearPage('full_crc32', 3);
  page.fill(0, 26);
  page.writeUInt16BE(0x8000 | (8_192 >> 8), 24);
  stream.copy(page, 26);
  return page;
}

it.each([1, 6, 9])('a page that zlib compressed at level %i is proved by decompressing it', (level) => {
  const page = pageWith(deflateSync(clearPage('full_crc32', 3), { level }));
  expect(proofOf(layoutOf('paged'), page, SPACE_ID)).toBe('inflated');
  expect(proofOf(layoutOf('paged'), page, SPACE_ID + 1)).toBeUndefined();
});

it('pages of a wrong key are told without memory that stays in use', () => {
  const layout = layoutOf('paged');
  const page = pageWith(Buffer.alloc(4_000));
  const before = process.memoryUsage().external;
  for (let count = 0; count < 2_000; count += 1) {
    page.fill(count % 251, 26, 4_000);
    if (proofOf(layout, page, SPACE_ID) !== undefined) throw new Error('garbage is a page');
  }
  expect(process.memoryUsage().external - before).toBeLessThan(4 * MB);
});
