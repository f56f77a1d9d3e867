import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { READ_ONLY } from '../../disk/small-file.ts';
import { KeyError, systemErrorCode } from '../../errors.ts';
import { doublewriteBlocks, TRX_SYS_PAGE } from '../../format/innodb/doublewrite.ts';
import { pageDamage } from '../../format/innodb/page-checksum.ts';
import { type ReadAt, readTablespace } from '../../format/innodb/tablespace.ts';
import type { OpenSpace } from './pages.ts';

/** The system tablespace up to one of its files. */
export type SystemUntil = Omit<OpenSpace, 'input' | 'output'>;

export interface OpenedSpace {
  readonly space: OpenSpace;
  /** Whole pages. */
  readonly pages: number;
  /** Pages of the tablespace, as page 0 counts them, that would follow in the file, or in further ones. */
  readonly missing: number;
  /** Bytes after the last whole page. */
  readonly rest: number;
  /** Bytes that the file takes on the disk; those of holes are not among them. */
  readonly usedBytes: number;
  close(): void;
}

const BLOCK = 512;
/** FSP_SIZE in page 0. A server extends the file before it counts the new pages. */
const SPACE_PAGES = 46;

/**
 * Opens a tablespace, whose page 0 says how to read it.
 * @param before the system tablespace, if the file is not its first one; `firstPage` is that of the file
 * @throws KeyError DATA_UNREADABLE
 */
export function openSpace(path: string, before?: SystemUntil): OpenedSpace {
  let descriptor: number;
  try {
    descriptor = openSync(path, READ_ONLY);
  } catch (cause) {
    throw unreadable(path, systemErrorCode(cause) ?? 'it is no file', cause);
  }
  try {
    return open(path, descriptor, before);
  } catch (thrown) {
    closeSync(descriptor);
    if (thrown instanceof KeyError) throw thrown;
    throw unreadable(path, systemErrorCode(thrown) ?? 'it cannot be read', thrown);
  }
}

function open(path: string, descriptor: number, before: SystemUntil | undefined): OpenedSpace {
  const facts = fstatSync(descriptor);
  if (!facts.isFile()) throw unreadable(path, 'it is not a regular file');
  const read: ReadAt = (offset, length) => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(descriptor, bytes, 0, length, offset));
  };
  const pagesIn = (space: OpenSpace): number => Math.floor(facts.size / space.layout.fileBytes);
  const sizes = (space: OpenSpace): OpenedSpace => ({
    space,
    pages: pagesIn(space),
    missing: Math.max(0, space.spacePages - space.firstPage - pagesIn(space)),
    rest: facts.size % space.layout.fileBytes,
    usedBytes: Math.min(facts.blocks * BLOCK, facts.size),
    close: () => closeSync(descriptor),
  });
  if (before !== undefined) return sizes({ ...before, input: descriptor, output: undefined });
  const { layout, crypt } = readTablespace(read) ?? {};
  const first = layout === undefined ? Buffer.alloc(0) : read(0, layout.fileBytes);
  if (layout === undefined || first.length < layout.fileBytes)
    throw unreadable(path, 'it does not begin like an InnoDB tablespace');
  const damage = pageDamage(layout, false, 0, first);
  if (damage !== undefined)
    throw unreadable(path, `page 0, which says how to read the others, is damaged: its ${damage} is not right`);
  const system = layout.id === 0 ? read(TRX_SYS_PAGE * layout.fileBytes, layout.fileBytes) : undefined;
  const isWhole = system !== undefined && system.length === layout.fileBytes;
  return sizes({
    layout,
    crypt: crypt && { keyId: crypt.keyId, iv: Uint8Array.from(crypt.iv), isEncrypted: crypt.isEncrypted },
    doublewrite: isWhole ? doublewriteBlocks(system) : [],
    spacePages: first.readUInt32BE(SPACE_PAGES),
    firstPage: 0,
    input: descriptor,
    output: undefined,
  });
}

function unreadable(path: string, reason: string, cause?: unknown): KeyError {
  return new KeyError('DATA_UNREADABLE', `${path}: ${reason}`, { cause });
}
