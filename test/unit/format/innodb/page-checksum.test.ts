import { describe, expect, it } from 'vitest';
import { crc32c } from '../../../../src/format/crc32c.ts';
import type { PageForm, SpaceLayout } from '../../../../src/format/innodb/layout.ts';
import { isIntact, pageDamage, sealPage } from '../../../../src/format/innodb/page-checksum.ts';

const [SPACE, NUMBER, LSN, INDEX] = [77, 4, 0x1_2345_6789n, 17_855];

function layout(form: PageForm, isPageCompressed = false): SpaceLayout {
  const fileBytes = form === 'zip' ? 8_192 : 16_384;
  return { id: SPACE, form, pageBytes: 16_384, fileBytes, isPageCompressed, compression: 0, pagesOfExtent: 64 };
}

/** A page in clear of arbitrary content, with a right checksum. */
function clearPage({ form, fileBytes }: SpaceLayout): Buffer {
  const page = Buffer.alloc(fileBytes);
  for (let at = 38; at < fileBytes - 8; at += 1) page[at] = at * 31;
  page.writeUInt32BE(NUMBER, 4);
  page.writeBigUInt64BE(LSN, 16);
  page.writeUInt16BE(INDEX, 24);
  page.writeUInt32BE(SPACE, 34);
  if (form === 'full_crc32') page.writeUInt32BE(Number(LSN & 0xffffffffn), fileBytes - 8);
  if (form === 'older') page.writeUInt32BE(Number(LSN & 0xffffffffn), fileBytes - 4);
  sealPage({ form }, page);
  return page;
}

/** The same page, with another version at the place of encrypted ones and the checksum that then holds. */
function encryptedPage(of: SpaceLayout): Buffer {
  const page = clearPage(of);
  const part = (from: number, to: number): number => crc32c(page.subarray(from, to));
  if (of.form === 'full_crc32') {
    page.writeUInt32BE(3, 0);
    page.writeUInt32BE(part(0, page.length - 4), page.length - 4);
    return page;
  }
  page.writeUInt32BE(3, 26);
  page.fill(0xa5, 38, page.length - 8);
  const checksum =
    of.form === 'zip' ? part(4, 16) ^ part(24, 26) ^ part(34, page.length) : part(4, 26) ^ part(38, page.length - 8);
  page.writeUInt32BE(checksum >>> 0, 30);
  return page;
}

const FORMS: readonly PageForm[] = ['full_crc32', 'older', 'zip'];

describe.each(FORMS)('a page of the form %s', (form) => {
  const of = layout(form);

  it.each([
    ['in clear', clearPage(of), false],
    ['encrypted', encryptedPage(of), true],
  ] as const)('%s is sound, and damaged when a bit of it changes', (_, page, isEncrypted) => {
    expect(pageDamage(of, isEncrypted, NUMBER, page)).toBeUndefined();
    // The checksum of an older page covers neither the places of its two checksums nor, when encrypted, its end.
    const uncovered = (at: number): boolean =>
      form !== 'full_crc32' && (at < 4 || (at >= 16 && at < 38)) && (isEncrypted || form === 'zip' || at >= 26);
    const isMiddle = (at: number): boolean => at >= 64 && at < page.length - 16;
    for (let at = 0; at < page.length; at += isMiddle(at) ? 61 : 1) {
      const isEnd = form === 'older' && isEncrypted && at >= page.length - 8 && at < page.length - 4;
      if (uncovered(at) || isEnd) continue;
      const damaged = Buffer.from(page);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      expect(pageDamage(of, isEncrypted, NUMBER, damaged), `byte ${at}`).toBeDefined();
    }
  });

  it('is damaged at the place of another page or in another tablespace', () => {
    expect(pageDamage(of, false, NUMBER + 1, clearPage(of))).toBe('number');
    expect(pageDamage({ ...of, id: SPACE + 1 }, false, NUMBER, clearPage(of))).toBe('tablespace');
  });

  it('is sound while it was never written', () => {
    expect(pageDamage(of, false, NUMBER, Buffer.alloc(of.fileBytes))).toBeUndefined();
    const touched = Buffer.alloc(of.fileBytes);
    touched[of.fileBytes - 1] = 1;
    expect(pageDamage(of, false, NUMBER, touched)).toBe('number');
  });
});

it('a page in clear whose end is from another write is damaged', () => {
  for (const form of ['full_crc32', 'older'] as const) {
    const of = layout(form);
    const page = clearPage(of);
    page.writeBigUInt64BE(LSN + 1n, 16);
    sealPage(of, page);
    expect(pageDamage(of, false, NUMBER, page)).toBe('end');
  }
});

it('a page-compressed page of full_crc32 has its checksum at the end of what is written', () => {
  const of = layout('full_crc32', true);
  const page = clearPage(of);
  page.writeUInt16BE(0x8000 | 3, 24);
  page.fill(0xee, 768);
  sealPage(of, page);
  expect(pageDamage(of, true, NUMBER, page)).toBeUndefined();
  page[767] = (page[767] ?? 0) ^ 1;
  expect(pageDamage(of, true, NUMBER, page)).toBe('checksum');
});

it.each([0, 64, 0x7fff])('a page-compressed page of full_crc32 that says it has %i × 256 bytes is damaged', (units) => {
  const page = clearPage(layout('full_crc32', true));
  page.writeUInt16BE(0x8000 | units, 24);
  expect(isIntact({ form: 'full_crc32' }, page)).toBe(false);
});

it('a page-compressed page of the older form has no checksum', () => {
  const of = layout('older', true);
  for (const type of [34_354, 37_401]) {
    const page = clearPage(of);
    page.writeUInt16BE(type, 24);
    page.fill(0x77, 100);
    expect(pageDamage(of, true, NUMBER, page)).toBeUndefined();
  }
});

/** InnoDB's fold in 64 bits, as its description has it. */
function fold(bytes: Buffer): bigint {
  let sum = 0n;
  for (const byte of bytes) {
    const mixed = ((sum ^ BigInt(byte) ^ 1_653_893_711n) << 8n) + sum;
    sum = BigInt.asUintN(64, (mixed ^ 1_463_735_687n) + BigInt(byte));
  }
  return sum;
}

describe('checksums from before CRC-32C', () => {
  const of = layout('older');

  it('of innodb_checksum_algorithm=innodb are right', () => {
    const page = clearPage(of);
    const first = fold(page.subarray(4, 26)) + fold(page.subarray(38, page.length - 8));
    page.writeUInt32BE(Number(BigInt.asUintN(32, first)), 0);
    page.writeUInt32BE(Number(BigInt.asUintN(32, fold(page.subarray(0, 26)))), page.length - 8);
    expect(pageDamage(of, false, NUMBER, page)).toBeUndefined();
    page[200] = (page[200] ?? 0) ^ 1;
    expect(pageDamage(of, false, NUMBER, page)).toBe('checksum');
  });

  it('of innodb_checksum_algorithm=none are a number of their own', () => {
    const page = clearPage(of);
    page.writeUInt32BE(0xdeadbeef, 0);
    expect(pageDamage(of, false, NUMBER, page)).toBe('checksum');
    page.writeUInt32BE(0xdeadbeef, page.length - 8);
    expect(pageDamage(of, false, NUMBER, page)).toBeUndefined();
  });

  it('of ROW_FORMAT=COMPRESSED are Adler-32', () => {
    const zip = layout('zip');
    const page = clearPage(zip);
    let [low, high] = [0n, 0n];
    for (const byte of Buffer.concat([page.subarray(4, 16), page.subarray(24, 26), page.subarray(34)])) {
      low += BigInt(byte);
      high += low;
    }
    page.writeUInt32BE(Number(((high % 65_521n) << 16n) | (low % 65_521n)), 0);
    expect(pageDamage(zip, false, NUMBER, page)).toBeUndefined();
    page[5_000] = (page[5_000] ?? 0) ^ 1;
    expect(pageDamage(zip, false, NUMBER, page)).toBe('checksum');
  });
});
