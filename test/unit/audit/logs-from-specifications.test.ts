import { expect, it } from 'vitest';
import { auditData } from '../../../src/audit/audit.ts';
import type { FileAudit } from '../../../src/audit/file-audit.ts';
import { needsOf } from '../../../src/audit/needs.ts';
import { remarksOf } from '../../../src/audit/remarks.ts';
import { conflictsOf } from '../../../src/audit/settings.ts';
import { crc32c } from '../../../src/format/crc32c.ts';
import { dataLocations } from '../../../src/server/data-locations.ts';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryData } from '../../support/memory-data.ts';

const VECTORS = new Map(dataFileVectors().map((vector) => [vector.vector, vector.bytes]));

function vector(name: string): Buffer {
  return VECTORS.get(name) ?? Buffer.alloc(0);
}

/** Audits a data directory that has these files. Lines: kind, state, key id, versions. */
async function audit(
  files: Readonly<Record<string, Buffer>>,
  options: Readonly<Record<string, string>> = {},
): Promise<{
  readonly lines: Readonly<Record<string, string>>;
  readonly files: readonly FileAudit[];
  unseen: string[];
}> {
  const disk = new MemoryData();
  for (const [name, bytes] of Object.entries(files)) disk.put(`/data/${name}`, bytes);
  const locations = dataLocations('/data', (name) => options[name]);
  const { signal } = new AbortController();
  const found = await auditData([{ locations, isCopy: true, isUnprepared: false, more: [] }], {
    disk,
    clock: new FakeClock(),
    signal,
  });
  const lines = found.files.map(({ file, kind, state, keyId = '', versions }) => {
    const text = `${kind}, ${state} ${keyId} ${versions.map(({ version }) => version).join(' ')}`;
    return [file, text.trim()];
  });
  const unseen = found.unseen.filter(({ path }) => path in files).map(({ path, reason }) => `${path}: ${reason}`);
  return { lines: Object.fromEntries(lines), files: found.files, unseen };
}

/** The header of a binary log that InnoDB writes. */
function innodbBinaryLog(): Buffer {
  const log = Buffer.alloc(32_768);
  log.writeUInt32LE(0x010dfefe, 0);
  log.writeUInt32LE(14, 4);
  log.writeUInt32LE(1, 8);
  log.writeBigUInt64LE(2n, 24);
  log.writeUInt32LE(crc32c(log.subarray(0, 508)), 508);
  log.write('a row in clear', 16_400);
  return log;
}

it('binary logs that InnoDB writes are in clear, and that no server encrypts them is said', async () => {
  const { lines, files, unseen } = await audit({
    'binlog-000000.ibb': innodbBinaryLog(),
    'binlog-000001.ibb': Buffer.alloc(32_768),
    'binlog-000002.ibb': innodbBinaryLog().fill(1, 100, 101),
  });
  expect(lines).toEqual({ 'binlog-000000.ibb': 'binary log, clear', 'binlog-000001.ibb': 'binary log, empty' });
  expect(unseen).toEqual(['binlog-000002.ibb: its format is not known, or it is damaged at its beginning']);
  const settings = {
    innodb_encrypt_tables: undefined,
    innodb_encrypt_log: undefined,
    innodb_encrypt_temporary_tables: undefined,
    aria_encrypt_tables: undefined,
    encrypt_binlog: true,
  };
  expect(remarksOf(files, conflictsOf(files, settings), [], undefined)).toEqual([
    'encrypt_binlog=ON, and in clear or partly so: binlog-000000.ibb',
    'no server encrypts the binary log that InnoDB writes: binlog-000000.ibb',
  ]);
});

it('binary logs that InnoDB writes are found in binlog_directory', async () => {
  const { lines } = await audit(
    { ibdata1: vector('system-clear'), 'logs/binlog-000000.ibb': innodbBinaryLog() },
    { binlog_directory: 'logs' },
  );
  expect(lines['logs/binlog-000000.ibb']).toBe('binary log, clear');
});

it('the two newest files of an archive of redo logs are for a start, the others for a recovery', async () => {
  const encrypted = vector('redo-archived-encrypted');
  const { lines, files, unseen } = await audit({
    'ib_000000000000A000.log': encrypted,
    'ib_0000000000003000.log': encrypted,
    'ib_0000000000009000.log': vector('redo-archived-clear'),
    'ib_000000000000b000.log': Buffer.alloc(65_536),
  });
  expect(unseen).toEqual([]);
  expect(lines).toEqual({
    'ib_0000000000003000.log': 'archived redo log, encrypted 1 5',
    'ib_0000000000009000.log': 'archived redo log, empty',
    'ib_000000000000A000.log': 'redo log, encrypted 1 5',
    'ib_000000000000b000.log': 'redo log, empty',
  });
  expect(needsOf(files)).toEqual([
    {
      id: 1,
      version: 5,
      needs: {
        start: { files: ['ib_000000000000A000.log'], pages: 0 },
        logs: { files: ['ib_0000000000003000.log'], pages: 0 },
      },
    },
  ]);
});

it.each([
  ['redo-10.2-encrypted', '4'],
  ['redo-10.3-encrypted', '6 7'],
  ['redo-10.4-encrypted', '1'],
  ['redo-10.5-encrypted', '2 3'],
  ['redo-10.8-encrypted', '3'],
])('the versions of %s are %s', async (name, versions) => {
  const { lines } = await audit({ ib_logfile0: vector(name) });
  expect(lines).toEqual({ ib_logfile0: `redo log, encrypted 1 ${versions}` });
});

const FIRST_BLOCK = 2_048;

/** A log of 10.5 whose latest checkpoint is at an LSN, with a block for each LSN and key version. */
function logOfBlocks(checkpoint: bigint, blocks: readonly (readonly [lsn: bigint, version: number])[]): Buffer {
  const head = Buffer.concat([vector('redo-10.5-encrypted'), Buffer.alloc(512 * blocks.length)]);
  head.writeBigUInt64BE(checkpoint - 4_096n, 512 + 8);
  head.writeBigUInt64BE(checkpoint, 1_536 + 8);
  const sealBlock = (at: number): unknown => head.writeUInt32BE(crc32c(head.subarray(at, at + 508)), at + 508);
  sealBlock(512);
  sealBlock(1_536);
  for (const [index, [lsn, version]] of blocks.entries()) {
    const at = FIRST_BLOCK + index * 512;
    head.writeUInt32BE((Number((lsn / 512n) & 0x3fffffffn) + 1) | 0, at);
    head.writeUInt32BE(version, at + 504);
    sealBlock(at);
  }
  return head;
}

it('a start needs the versions of the blocks since the checkpoint, and no older ones', async () => {
  const log = logOfBlocks(10_240n, [
    [9_728n, 7],
    [10_240n, 8],
    [10_752n, 9],
    [11_264n, 9],
  ]);
  // A block that was not written whole.
  const torn = Buffer.concat([log, log.subarray(FIRST_BLOCK + 512, FIRST_BLOCK + 1_024)]);
  torn.writeUInt32BE(77, torn.length - 8);
  expect((await audit({ ib_logfile0: torn })).lines).toEqual({ ib_logfile0: 'redo log, encrypted 1 2 3 8 9' });
});

it('numbers of blocks begin again', async () => {
  const turn = 512n * 2n ** 30n;
  const log = logOfBlocks(turn - 512n, [
    [turn - 1_024n, 7],
    [turn - 512n, 8],
    [turn, 9],
  ]);
  expect((await audit({ ib_logfile0: log })).lines).toEqual({ ib_logfile0: 'redo log, encrypted 1 2 3 8 9' });
});

it('the second file of an older redo log is encrypted, also where only the first one names the version', async () => {
  const second = Buffer.from(vector('redo-10.3-encrypted'));
  second.fill(0, 512);
  const { lines } = await audit({
    ib_logfile0: vector('redo-10.5-encrypted'),
    ib_logfile1: second,
    ib_logfile2: vector('redo-10.4-clear'),
  });
  expect(lines).toEqual({
    ib_logfile0: 'redo log, encrypted 1 2 3',
    ib_logfile1: 'redo log, encrypted 1',
    ib_logfile2: 'redo log, empty',
  });
});
