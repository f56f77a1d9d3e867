import { describe, expect, it } from 'vitest';
import { MADE_FORMS, MADE_IV, MADE_PAGES, MADE_SPACE, madeTablespace } from '../../../../harness/made-tablespace.ts';
import type { SpaceLayout } from '../../../../src/format/innodb/layout.ts';
import { isIntact, sealPage } from '../../../../src/format/innodb/page-checksum.ts';
import { PageCipher } from '../../../../src/format/innodb/page-cipher.ts';
import { readPageHeader } from '../../../../src/format/innodb/page-header.ts';
import { readTablespace } from '../../../../src/format/innodb/tablespace.ts';
import { MADE_KEYS } from '../../../fuzz/data-seeds.ts';

function layoutOf(file: Buffer): SpaceLayout {
  const space = readTablespace((at, bytes) => file.subarray(at, at + bytes));
  if (space === undefined) throw new Error('no tablespace');
  return space.layout;
}

describe.each(MADE_FORMS)('a tablespace of the form $name, made from the specification', (form) => {
  const clear = madeTablespace(form, undefined);
  const layout = layoutOf(clear);
  const pageOf = (file: Buffer, number: number): Buffer =>
    Buffer.from(file.subarray(number * layout.fileBytes, (number + 1) * layout.fileBytes));

  it.each(MADE_KEYS)('decrypts to its pages in clear under $algorithm', (key) => {
    const encrypted = madeTablespace(form, key);
    const cipher = new PageCipher(layout, MADE_IV, key);
    const versions: number[] = [];
    for (let number = 0; number < MADE_PAGES; number += 1) {
      const page = pageOf(encrypted, number);
      const version = readPageHeader(layout.form, true, number, page, 0);
      if (typeof version !== 'number' || version === 0) continue;
      versions.push(version);
      expect(isIntact(layout, page), `page ${number}`).toBe(true);
      expect(page).not.toEqual(pageOf(clear, number));
      expect(cipher.decrypt(page, MADE_SPACE), `page ${number}`).toBeUndefined();
      if (!isIntact(layout, page)) sealPage(layout, page);
      expect(page.equals(pageOf(clear, number)), `page ${number}`).toBe(true);
    }
    expect(versions).toEqual([2, 1, 1, 2]);
  });

  it('has the checksum of its bytes, so that a change of them is noticed before another key is blamed', () => {
    const [key] = MADE_KEYS;
    if (key === undefined) throw new Error('no key');
    const page = pageOf(madeTablespace(form, key), 3);
    page[60] = (page[60] ?? 0) ^ 1;
    const problem = new PageCipher(layout, MADE_IV, key).decrypt(page, MADE_SPACE);
    expect(problem).toBe(layout.form === 'older' && layout.isPageCompressed ? undefined : 'checksum');
  });
});
