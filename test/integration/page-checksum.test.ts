/** Verdicts on pages are those of innochecksum, page for page, on whole and on damaged files. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { MADE_FORMS, madeTablespace } from '../../harness/made-tablespace.ts';
import { isFreePage, type SpaceLayout } from '../../src/format/innodb/layout.ts';
import { pageDamage } from '../../src/format/innodb/page-checksum.ts';
import { readTablespace } from '../../src/format/innodb/tablespace.ts';
import { MADE_KEYS } from '../fuzz/data-seeds.ts';
import { TEMPLATE } from '../support/global-setup.ts';
import { scratchDirectory } from '../support/scratch.ts';

const ALL_MISMATCHES = '4294967295';
/** Offset of an extent's state in its descriptor: 0 for an extent that was never used. */
const STATE = 20;

function innochecksum(file: string): ReadonlySet<number> {
  const { status, stderr } = spawnSync('innochecksum', ['-a', ALL_MISMATCHES, file], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return new Set([...stderr.matchAll(/Fail: page::(\d+) invalid/g)].map(([, page]) => Number(page)));
}

/** innochecksum passes over the pages of which the descriptors say that they are not in use. */
function isUsed(layout: SpaceLayout, bytes: Buffer, number: number): boolean {
  const inGroup = number % layout.fileBytes;
  const descriptors = bytes.subarray((number - inGroup) * layout.fileBytes).subarray(0, layout.fileBytes);
  const descriptor = 150 + Math.floor(inGroup / layout.pagesOfExtent) * (24 + layout.pagesOfExtent / 4);
  return isFreePage(layout, descriptors, inGroup) === 0 && descriptors.readUInt32BE(descriptor + STATE) !== 0;
}

function damagedPages(bytes: Buffer): ReadonlySet<number> {
  const { layout, crypt } = readTablespace((at, length) => bytes.subarray(at, at + length)) ?? {};
  if (layout === undefined) throw new Error('no tablespace');
  const found = new Set<number>();
  for (let number = 0; (number + 1) * layout.fileBytes <= bytes.length; number += 1) {
    const page = bytes.subarray(number * layout.fileBytes, (number + 1) * layout.fileBytes);
    const damage = pageDamage(layout, crypt?.isEncrypted === true, number, page);
    if (damage !== undefined && isUsed(layout, bytes, number)) found.add(number);
  }
  return found;
}

/**
 * Changes most pages in the ways in which they go wrong. Not the end of a page: innochecksum does not look at that of an
 * encrypted page of the older form, and a server does.
 */
function spoil(whole: Buffer, size: number): Buffer {
  const bytes = Buffer.from(whole);
  const pages = bytes.length / size;
  for (let number = 1; number < pages; number += 1) {
    const at = number * size;
    const change = number % 7;
    if (change === 0) bytes[at + ((number * 37) % 24)] = 0xa7;
    else if (change === 1) bytes[at + 40 + ((number * 997) % (size - 60))] = 0xa7;
    else if (change === 2) bytes.fill(0, at + size / 2, at + size - 16);
    else if (change === 3) whole.copy(bytes, at, (number - 1) * size, number * size);
    else if (change === 4) bytes[at + 26 + (number % 12)] = 0xa7;
  }
  return bytes;
}

it('verdicts on pages are those of innochecksum', () => {
  const file = join(scratchDirectory(), 't.ibd');
  const real = readdirSync(join(TEMPLATE, 'mysql'))
    .filter((name) => name.endsWith('.ibd'))
    .map((name) => readFileSync(join(TEMPLATE, 'mysql', name)));
  const made = MADE_FORMS.flatMap((form) => [undefined, ...MADE_KEYS].map((key) => madeTablespace(form, key)));
  expect(real.length).toBeGreaterThan(2);
  let damaged = 0;
  for (const whole of [...real, ...made]) {
    const size = readTablespace((at, length) => whole.subarray(at, at + length))?.layout.fileBytes ?? 0;
    for (const bytes of [whole, spoil(whole, size)]) {
      writeFileSync(file, bytes);
      const ours = damagedPages(bytes);
      expect([...ours]).toEqual([...innochecksum(file)]);
      if (bytes === whole) expect(ours.size).toBe(0);
      damaged += ours.size;
    }
  }
  expect(damaged).toBeGreaterThan(50);
});
