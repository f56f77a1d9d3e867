import { describe, expect, it } from 'vitest';
import { examineTablespace, examineTemporary } from '../../../src/audit/examine.ts';
import type { Found } from '../../../src/audit/found.ts';
import { CHUNK_BYTES, type ScanMeans } from '../../../src/audit/tablespace.ts';
import { sealPage } from '../../../src/format/innodb/page-checksum.ts';
import { PAGE_TYPE } from '../../../src/format/innodb/page-fields.ts';
import {
  FLAGS,
  type MadePage,
  type MadeSpace,
  madePage,
  madeTablespace,
  nameDoublewrite,
  PAGE,
} from '../../support/made-tablespaces.ts';

function means(more: Partial<ScanMeans> = {}): ScanMeans {
  const { signal } = new AbortController();
  return {
    sleep: () => Promise.resolve(),
    signal,
    chunk: Buffer.alloc(CHUNK_BYTES),
    checksums: false,
    advance: () => undefined,
    ...more,
  };
}

/** A file in memory; `onRead` sees every read, and may change the bytes before it. */
function fileOf(bytes: Buffer, onRead: (offset: number) => void = () => undefined) {
  const readInto = (into: Buffer, offset: number): number => {
    onRead(offset);
    return bytes.subarray(offset).copy(into);
  };
  const read = (offset: number, length: number): Buffer => bytes.subarray(offset, offset + length);
  return { read, readInto, bytes: bytes.length };
}

async function found(bytes: Buffer, more: Partial<ScanMeans> = {}): Promise<Found> {
  const space = await examineTablespace(fileOf(bytes), means(more));
  if (space === undefined) throw new Error('no tablespace');
  return space.found;
}

async function foundIn(space: MadeSpace, pages: readonly (MadePage | 'empty')[]): Promise<Found> {
  return await found(madeTablespace(space, pages));
}

describe('a tablespace', () => {
  it('that ends before page 0 says, or within a page, is not whole', async () => {
    const whole = madeTablespace({}, [{ version: 1 }, { version: 1 }, { version: 1 }]);
    const cut = async (file: ReturnType<typeof fileOf>) => (await examineTablespace(file, means()))?.cut;
    expect(await cut(fileOf(whole))).toBeUndefined();
    expect(await cut(fileOf(Buffer.concat([whole, Buffer.alloc(9 * PAGE)])))).toBeUndefined();
    expect(await cut(fileOf(whole.subarray(0, 2 * PAGE)))).toBe('it ends before its page 2 of 4');
    expect(await cut(fileOf(whole.subarray(0, 3 * PAGE + 9)))).toBe('it ends before its page 3 of 4');
    expect(await cut(fileOf(Buffer.concat([whole, Buffer.alloc(9)])))).toBe('it ends within its page 4');
  });

  it('that a server made longer after it was opened is whole', async () => {
    const whole = madeTablespace({}, [{ version: 1 }, { version: 1 }, { version: 1 }]);
    const file = { ...fileOf(whole), bytes: PAGE + 9 };
    expect((await examineTablespace(file, means()))?.cut).toBeUndefined();
  });

  it('is encrypted under the versions of its pages, in use and free', async () => {
    const audit = await foundIn({}, [{ version: 2 }, { version: 2 }, { version: 1, isFree: true }, 'empty']);
    expect(audit).toMatchObject({ state: 'encrypted', keyId: 7, asked: 'default' });
    expect(audit.versions).toEqual([
      { version: 1, used: 0, free: 1 },
      { version: 2, used: 2, free: 0 },
    ]);
    expect(audit.pages).toMatchObject({ all: 5, neverEncrypted: 1, empty: 1, strangePages: 0 });
  });

  it('is partly encrypted when pages in use are in clear; free pages in clear do not count', async () => {
    expect(await foundIn({}, [{ version: 1 }, {}])).toMatchObject({ state: 'partly' });
    const audit = await foundIn({}, [{ version: 1 }, { isFree: true }]);
    expect(audit).toMatchObject({ state: 'encrypted', pages: { clear: { used: 0, free: 1 } } });
  });

  it('is not partly encrypted for a page that has a header and nothing else, like page 4 since MariaDB 11.0', async () => {
    const blank = { type: PAGE_TYPE.allocated };
    for (const checksums of [false, true]) {
      const file = madeTablespace({}, [{ version: 1 }, blank]);
      expect(await found(file, { checksums })).toMatchObject({ state: 'encrypted', pages: { empty: 1 } });
      file.writeUInt8(1, 2 * PAGE + 5_000);
      sealPage({ form: 'full_crc32' }, file.subarray(2 * PAGE));
      expect(await found(file, { checksums })).toMatchObject({ state: 'partly', pages: { clear: { used: 1 } } });
    }
  });

  it('has the versions of its pages when page 0 is behind them', async () => {
    expect((await foundIn({ minVersion: 1 }, [{ version: 9 }])).versions).toEqual([{ version: 9, used: 1, free: 0 }]);
  });

  it('with a block of scheme 0, of ENCRYPTED=NO, names no key', async () => {
    const audit = await foundIn({ scheme: 0, encryption: 2, minVersion: 0 }, [{}]);
    expect(audit).toMatchObject({ state: 'clear', keyId: undefined, asked: 'no', versions: [] });
  });

  it('of compressed pages with older checksums is in clear, whatever old version their headers keep', async () => {
    const space = { flags: FLAGS.compressed };
    const audit = await foundIn(space, [{ version: 3, type: PAGE_TYPE.pageCompressed }]);
    expect(audit).toMatchObject({ state: 'clear', versions: [], pages: { clear: { used: 1 } } });
    const encrypted = await foundIn(space, [{ version: 3, type: PAGE_TYPE.pageCompressedEncrypted }]);
    expect(encrypted.versions).toEqual([{ version: 3, used: 1, free: 0 }]);
  });

  it('with older checksums has SPATIAL pages in clear, which are counted apart', async () => {
    const audit = await foundIn({ flags: FLAGS.older }, [{ version: 1 }, { version: 88, type: PAGE_TYPE.rtree }]);
    expect(audit).toMatchObject({ state: 'partly', pages: { clear: { used: 1 }, spatial: 1 } });
    expect(audit.versions).toEqual([{ version: 1, used: 1, free: 0 }]);
  });

  it('keeps out the copies in the doublewrite area, with the versions of other tablespaces', async () => {
    const pages: MadePage[] = Array.from({ length: 140 }, (_, at) =>
      at + 1 >= 64 && at + 1 < 128 ? { version: 6, number: 3, isDamaged: true } : { version: 1 },
    );
    pages[4] = {};
    const file = madeTablespace({ id: 0 }, pages);
    nameDoublewrite(file, 64, 1_000);
    const audit = await found(file, { checksums: true });
    expect(audit.versions.map(({ version }) => version)).toEqual([1]);
    expect(audit.pages).toMatchObject({ copies: 64, strangePages: 0, neverEncrypted: 2 });
  });
});

describe('a page that cannot be read steadily', () => {
  it('is read again, and counts when its write has ended', async () => {
    const whole = madeTablespace({}, [{ version: 1 }, { version: 2 }]);
    const torn = Buffer.from(whole);
    torn.writeUInt32BE(99, 2 * PAGE + 4);
    const file = fileOf(torn);
    let sleeps = 0;
    const sleep = (): Promise<void> => {
      sleeps += 1;
      if (sleeps === 2) whole.copy(torn);
      return Promise.resolve();
    };
    const space = await examineTablespace(file, means({ sleep }));
    expect(sleeps).toBe(2);
    expect(space?.found.versions.map(({ version }) => version)).toEqual([1, 2]);
    expect(space?.found.pages).toMatchObject({ strangePages: 0, strange: [] });
  });

  it('is named by its number, and its version is not believed', async () => {
    const audit = await foundIn({}, [{ version: 1 }, { version: 4_000_000_000, isDamaged: true }]);
    expect(audit.versions.map(({ version }) => version)).toEqual([1]);
    expect(audit.pages).toMatchObject({ strangePages: 1, strange: [2] });
  });

  it('of a version that others have is found with --checksums', async () => {
    const file = madeTablespace({}, [{ version: 1 }, { version: 1, isDamaged: true }]);
    expect((await found(file)).pages).toMatchObject({ strangePages: 0 });
    expect((await found(file, { checksums: true })).pages).toMatchObject({ strangePages: 1, strange: [2] });
  });

  it('is one of many in a damaged file, of which the first 256 are named', async () => {
    const pages = Array.from({ length: 300 }, () => ({ version: 1, number: 9_999 }));
    const { pages: totals } = await foundIn({}, pages);
    expect(totals).toMatchObject({ strangePages: 300 });
    expect(totals?.strange).toHaveLength(256);
  });
});

it('a second file of a tablespace has the page numbers that follow, and the descriptors of the first', async () => {
  const whole = madeTablespace({ id: 0 }, [
    ...Array.from({ length: 9 }, () => ({ version: 1 })),
    { version: 2 },
    { version: 1, isFree: true },
  ]);
  const first = await examineTablespace(fileOf(whole.subarray(0, 8 * PAGE)), means());
  const second = await examineTablespace(fileOf(whole.subarray(8 * PAGE)), means(), first?.rest);
  expect(second?.found).toMatchObject({ state: 'encrypted', keyId: 7, pages: { all: 4, strangePages: 0 } });
  expect(second?.found.versions).toEqual([
    { version: 1, used: 2, free: 1 },
    { version: 2, used: 1, free: 0 },
  ]);
  expect(second?.rest.nextPage).toBe(12);
});

it('a temporary tablespace has encrypted pages that name no version, of the key of the redo log', async () => {
  const space = { id: 0xfffffffe, scheme: undefined };
  const clear = await examineTemporary(fileOf(madeTablespace(space, [{}])), means());
  expect(clear).toMatchObject({ state: 'clear', keyId: undefined });
  const other = madePage({ id: 0x1234 }, 1, {});
  const encrypted = await examineTemporary(fileOf(Buffer.concat([madeTablespace(space, []), other])), means());
  expect(encrypted).toMatchObject({ state: 'encrypted', keyId: 1, versions: [], pages: { unnamed: 1 } });
});

it('a scan stops when its signal is aborted, and tells how much it read', async () => {
  const pages = Array.from({ length: 1_100 }, () => ({ version: 1 }));
  const bytes = madeTablespace({}, pages);
  const read: number[] = [];
  const scanned = means({ advance: (more) => read.push(more) });
  await examineTablespace(fileOf(bytes), scanned);
  expect(read.reduce((sum, more) => sum + more, 0)).toBeGreaterThan(16_000_000);
  await expect(examineTablespace(fileOf(bytes), { ...scanned, signal: AbortSignal.abort() })).rejects.toThrow(
    'aborted',
  );
});
