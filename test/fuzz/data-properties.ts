/**
 * Properties that the readers of data files keep for any file: run for a moment by the unit tests, for longer by
 * `npm run fuzz`. A reader has a result or a KeyError, reads a file no more than a few times, and leaves none open.
 */
import { join } from 'node:path';
import fc from 'fast-check';
import { MADE_IV, type MadeKey } from '../../harness/made-tablespace.ts';
import { auditData } from '../../src/audit/audit.ts';
import { lookAtData } from '../../src/data/look.ts';
import { KeyError } from '../../src/errors.ts';
import {
  decryptKeyFile,
  isEncryptedKeyFile,
  parseKeyFile,
  passphraseOf,
} from '../../src/format/file-key-management.ts';
import { doublewriteBlocks, isInDoublewrite } from '../../src/format/innodb/doublewrite.ts';
import { judgePage } from '../../src/format/innodb/judged-page.ts';
import { isFreePage } from '../../src/format/innodb/layout.ts';
import { isIntact, pageDamage, sealPage } from '../../src/format/innodb/page-checksum.ts';
import { PageCipher } from '../../src/format/innodb/page-cipher.ts';
import { readPageHeader } from '../../src/format/innodb/page-header.ts';
import { readTablespace } from '../../src/format/innodb/tablespace.ts';
import { tablespaceUse } from '../../src/format/key-use.ts';
import { dataLocations } from '../../src/server/data-locations.ts';
import { MemoryData } from '../support/memory-data.ts';
import { anyDirectory } from './any-directory.ts';
import { binaryLogProperty } from './binary-log-property.ts';
import { type DataSeeds, MADE_KEYS } from './data-seeds.ts';
import { decryptedAriaProperty } from './decrypted-aria-property.ts';
import { decryptedTablespaceProperty } from './decrypted-tablespace-property.ts';
import { HastyClock } from './hasty-clock.ts';
import { reportsProperty } from './reports-property.ts';
import { spoiltFile } from './spoilt-files.ts';
import { verifiedDataProperty } from './verified-data-property.ts';

const DATADIR = '/data';
/** Milliseconds of the processor for one input: none needs a tenth. */
const MOST_MS = 2_000;

type Within = <T>(run: () => T | Promise<T>, ...codes: readonly KeyError['code'][]) => Promise<void>;

/**
 * Runs a reader: a refusal is a KeyError with one of the codes, anything else is a defect.
 * @param took is told the milliseconds of the processor
 */
function timed(took: (ms: number) => void): Within {
  return async (run, ...codes) => {
    const start = process.threadCpuUsage();
    try {
      await run();
    } catch (thrown) {
      if (!(thrown instanceof KeyError && codes.includes(thrown.code))) throw thrown;
    }
    const { user, system } = process.threadCpuUsage(start);
    const ms = (user + system) / 1000;
    took(ms);
    if (ms > MOST_MS) throw new Error(`an input took ${ms} ms`);
  };
}

/** Reads all pages of a tablespace as the audit, the doctor and the decryption do. */
function readPages(file: Buffer, key: MadeKey): void {
  const read = (at: number, bytes: number): Buffer => Buffer.from(file.subarray(at, at + bytes));
  for (const page of tablespaceUse(read).use?.pages ?? []) {
    page.isWhole();
    judgePage(page.space, page.head, key);
  }
  const { layout, crypt } = readTablespace(read) ?? {};
  if (layout === undefined) return;
  const isEncrypted = crypt?.isEncrypted === true;
  const cipher = new PageCipher(layout, crypt?.iv ?? MADE_IV, key);
  for (let number = 0; (number + 1) * layout.fileBytes <= file.length; number += 1) {
    const page = (): Buffer => read(number * layout.fileBytes, layout.fileBytes);
    if (number % layout.fileBytes === 0 && ![0, 1].includes(isFreePage(layout, page(), layout.fileBytes - 1)))
      throw new Error('the last page of a group is neither free nor in use');
    isInDoublewrite(doublewriteBlocks(page()), layout.pagesOfExtent, number);
    const header = readPageHeader(layout.form, isEncrypted, number, page(), 0);
    if (pageDamage(layout, isEncrypted, number, page()) === undefined && header === 'strange')
      throw new Error(`page ${number} is sound and strange`);
    const clear = page();
    if (cipher.decrypt(clear, layout.id) !== undefined) continue;
    if (!isIntact(layout, clear)) sealPage(layout, clear);
    if (!isIntact(layout, clear)) throw new Error(`page ${number}, decrypted and sealed, has a wrong checksum`);
  }
  cipher.wipe();
}

/** @param turn any number: some of what is done with a directory is done in some turns only */
async function readDirectory(files: MemoryData, turn: number): Promise<void> {
  const locations = dataLocations(DATADIR, () => undefined);
  const { signal } = new AbortController();
  const place = { locations, isCopy: true, isUnprepared: false, more: [] };
  const alone = { files: [...files.files.keys()] };
  const means = { disk: files, clock: new HastyClock(), signal, checksums: turn % 2 === 0 };
  await auditData([turn % 3 === 0 ? alone : place], means);
  if (turn % 3 === 1) await lookAtData(files, locations, signal);
  let bytes = 0;
  for (const file of files.files.values()) bytes += file.length;
  if (files.openFiles !== 0) throw new Error(`${files.openFiles} files are still open`);
  if (files.bytesRead > 16 * bytes + 64 * 65_536) throw new Error(`${files.bytesRead} of ${bytes} bytes were read`);
  if (files.reads > bytes + 10_000) throw new Error(`${files.reads} reads of ${bytes} bytes`);
}

const KEY_LINES = [
  '1;770A8A65DA156D24EE2A093277530142',
  '# a comment',
  '010;18420B5CBA31CCDFFE9716E91EB61374D05914F3ADE23E03',
  '4294967295;F5502320F8429037B8DAEF761B189D12F5502320F8429037B8DAEF761B189D12 ;',
  'Salted__01234567',
].map((line) => Buffer.from(`${line}\n`));

/** @param took is told of each execution how many milliseconds of the processor it took */
export function dataProperties(
  seeds: DataSeeds,
  took: (ms: number) => void = () => undefined,
): Readonly<Record<DataGroup, fc.IRawProperty<unknown>>> {
  const within = timed(took);
  const tablespace = spoiltFile(seeds.tablespaces);
  const index = spoiltFile(seeds.indexes);
  const rows = spoiltFile(seeds.rows);
  const redo = spoiltFile(seeds.redoLogs);
  const binlog = spoiltFile(seeds.binaryLogs);
  const one = (...files: readonly (readonly [string, Buffer])[]): Promise<void> => {
    const data = new MemoryData();
    for (const [name, bytes] of files) data.put(join(DATADIR, name), bytes);
    return readDirectory(
      data,
      files.reduce((sum, [, bytes]) => sum + bytes.length + (bytes[20] ?? 0), 0),
    );
  };
  const directory = anyDirectory(seeds);
  return {
    pages: fc.asyncProperty(tablespace, fc.constantFrom(...MADE_KEYS), (bytes, key) =>
      within(() => readPages(bytes, key)),
    ),
    tablespaces: fc.asyncProperty(
      tablespace,
      fc.constantFrom('d/t.ibd', 'ibdata1', 'undo001', 'ibtmp1'),
      (bytes, name) => within(() => one([name, bytes])),
    ),
    ariaTables: fc.asyncProperty(index, rows, (mai, mad) => within(() => one(['d/a.MAI', mai], ['d/a.MAD', mad]))),
    logs: fc.asyncProperty(
      redo,
      binlog,
      fc.constantFrom('ib_logfile0', 'ib_logfile1', 'ib_0000000000003000.log'),
      (r, b, name) =>
        within(() => one([name, r], ['binlog.000001', b], ['binlog.index', Buffer.from('./binlog.000001\n')])),
    ),
    directories: fc.asyncProperty(directory, (files) => within(() => one(...files))),
    reports: reportsProperty(directory, within),
    verifiedData: verifiedDataProperty(directory, within),
    binaryLogs: binaryLogProperty(seeds.binaryLogs, within),
    decryptedAria: decryptedAriaProperty(index, rows, within),
    decryptedTablespaces: decryptedTablespaceProperty(tablespace, within),
    keyFiles: fc.asyncProperty(spoiltFile(KEY_LINES), spoiltFile(KEY_LINES), (file, passphrase) =>
      within(() => {
        const secret = passphraseOf(passphrase);
        parseKeyFile(isEncryptedKeyFile(file) ? decryptKeyFile(file, secret) : file);
      }, 'KEY_FILE_CORRUPT'),
    ),
  };
}

export type DataGroup =
  | 'pages'
  | 'tablespaces'
  | 'ariaTables'
  | 'logs'
  | 'directories'
  | 'reports'
  | 'verifiedData'
  | 'binaryLogs'
  | 'decryptedTablespaces'
  | 'decryptedAria'
  | 'keyFiles';
