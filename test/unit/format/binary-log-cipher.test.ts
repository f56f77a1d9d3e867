import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BinaryLogCipher, NONCE_BYTES } from '../../../src/format/binary-log-cipher.ts';
import { EVENT_HEADER, EVENT_LENGTH } from '../../../src/format/binary-log-event.ts';
import type { EncryptionAlgorithm } from '../../../src/format/encryption-algorithm.ts';

/** Encrypts one event as MariaDB does, without any batch. */
function encryptEvent(event: Buffer, position: number, key: Buffer, nonce: Buffer, algorithm: EncryptionAlgorithm) {
  const iv = Buffer.alloc(16);
  nonce.copy(iv);
  iv.writeUInt32LE(position % 2 ** 32, NONCE_BYTES);
  const length = event.readUInt32LE(EVENT_LENGTH);
  const clear = Buffer.from(event);
  clear.copy(clear, EVENT_LENGTH, 0, 4);
  const text = clear.subarray(4);
  const mode = algorithm === 'AES_CTR' ? 'ctr' : 'cbc';
  const blocks = mode === 'ctr' ? text.length : text.length - (text.length % 16);
  const cipher = createCipheriv(`aes-${key.length * 8}-${mode}`, key, iv).setAutoPadding(false);
  const secret = cipher.update(text.subarray(0, blocks));
  const mask = createCipheriv(`aes-${key.length * 8}-ecb`, key, null)
    .setAutoPadding(false)
    .update(iv);
  const tail = Buffer.from(text.subarray(blocks).map((byte, index) => byte ^ (mask[index] ?? 0)));
  const encrypted = Buffer.concat([Buffer.alloc(4), secret, tail]);
  encrypted.copy(encrypted, 0, EVENT_LENGTH, EVENT_LENGTH + 4);
  encrypted.writeUInt32LE(length, EVENT_LENGTH);
  return encrypted;
}

const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));

const event = fc.uint8Array({ minLength: EVENT_HEADER, maxLength: 700 }).map((array) => {
  const buffer = Buffer.from(array);
  buffer.writeUInt32LE(buffer.length, EVENT_LENGTH);
  return buffer;
});

it.each(['AES_CBC', 'AES_CTR'] as const)(
  'events of any length are decrypted together as one by one with %s',
  (algorithm) => {
    fc.assert(
      fc.property(
        fc.constantFrom(16, 24, 32).chain(bytes),
        fc.oneof(bytes(NONCE_BYTES), fc.constant(Buffer.alloc(NONCE_BYTES, 0xff))),
        fc.array(event, { minLength: 1, maxLength: 12 }),
        fc.oneof(fc.nat(10_000), fc.constant(2 ** 32 - 1000), fc.constant(2 ** 32 - 1), fc.constant(0xffff_ff)),
        (key, nonce, events, start) => {
          let position = start;
          const encrypted = events.map((one) => {
            const result = encryptEvent(one, position, key, nonce, algorithm);
            position += one.length;
            return result;
          });
          const cipher = new BinaryLogCipher(nonce, { bytes: key, algorithm });
          const batch = Buffer.concat(encrypted);
          cipher.decrypt(batch, start);
          expect(batch).toEqual(Buffer.concat(events));
          // A batch does not depend on the one before.
          const [first = Buffer.alloc(0)] = encrypted;
          const again = Buffer.from(first);
          cipher.decrypt(again, start);
          expect(again).toEqual(events[0]);
        },
      ),
      { numRuns: 200 },
    );
  },
);

it('the counter of CTR carries into the nonce', () => {
  const key = Buffer.alloc(16, 7);
  const nonce = Buffer.alloc(NONCE_BYTES, 0xff);
  // Its first counter, 0xffffffff, is the last before the carry.
  const position = 0xffff_ffff;
  const clear = Buffer.alloc(2000, 5);
  clear.writeUInt32LE(clear.length, EVENT_LENGTH);
  const encrypted = encryptEvent(clear, position, key, nonce, 'AES_CTR');
  new BinaryLogCipher(nonce, { bytes: key, algorithm: 'AES_CTR' }).decrypt(encrypted, position);
  expect(encrypted).toEqual(clear);
});
