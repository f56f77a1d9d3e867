import { expect, it } from 'vitest';
import { CRYPT_BLOCK_BYTES, parseCryptBlock } from '../../../../src/format/innodb/crypt-block.ts';
import { cryptBlockAt } from '../../../../src/format/innodb/layout.ts';
import { firstPage, KEY_ID, layoutOf } from '../../../support/encrypted-space.ts';

function blockOf(keyId: number): Buffer {
  const at = cryptBlockAt(layoutOf('full_crc32'));
  const block = Buffer.from(firstPage('full_crc32').subarray(at, at + CRYPT_BLOCK_BYTES));
  block.writeUInt32BE(keyId, 28);
  return block;
}

it.each([KEY_ID, 1, 0xffffffff])('a block that names key %i is one', (keyId) => {
  expect(parseCryptBlock(blockOf(keyId))?.keyId).toBe(keyId);
});

it('a block that names key 0, which no server has, is damage and no block', () => {
  expect(parseCryptBlock(blockOf(0))).toBeUndefined();
});
