import { randomBytes } from 'node:crypto';
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { keyCheckValue } from '../../../src/bytes.ts';
import { decryptWith, encryptFor, identitiesIn } from '../../../src/escrow/age.ts';
import { type EscrowedKey, formatCopy, parseCopy } from '../../../src/escrow/copy.ts';
import { keyId, keyVersion, MAX_KEY_VERSION } from '../../../src/ids.ts';
import { expectKeyError } from '../../support/expect-error.ts';

function key(id: number, version: number, bytes = 16, algorithm: EscrowedKey['algorithm'] = 'AES_CBC'): EscrowedKey {
  return { name: { id: keyId(id), version: keyVersion(version) }, algorithm, dataKey: randomBytes(bytes) };
}

const KEYS = [key(1, 1), key(1, 2, 32, 'AES_CTR'), key(7, 1, 24), key(4_294_967_295, MAX_KEY_VERSION)];

describe('the text of a copy', () => {
  it('comes back as it was, and each line has the key in hex', () => {
    const text = formatCopy(KEYS, ['made for a test']);
    expect(parseCopy(text)).toEqual(KEYS);
    const hex = KEYS[0]?.dataKey.toString('hex');
    expect(text.toString().split('\n')).toContain(
      `1;1;AES_CBC;${keyCheckValue(KEYS[0]?.dataKey ?? Buffer.of())};${hex}`,
    );
  });

  it('that was cut anywhere is refused, or has fewer whole keys', async () => {
    const text = formatCopy(KEYS, []);
    for (let end = 0; end < text.length; end += 1) {
      const cut = text.subarray(0, end);
      if (end > 0 && cut.at(-1) === 0x0a) expect(KEYS).toEqual(expect.arrayContaining([...parseCopy(cut)]));
      else await expectKeyError(() => parseCopy(cut), 'KEY_FILE_CORRUPT', /^the escrow copy: /);
    }
  });

  const one = formatCopy([key(1, 1)], []).toString();
  it.each([
    ['another beginning', 'id;key\n', 'it is no escrow of this program'],
    [
      'a changed digit',
      one.replace(/.\n$/, (end) => (end[0] === '0' ? '1\n' : '0\n')),
      /is not the key that its check value tells$/,
    ],
    ['a digit that is none', one.replace(/.\n$/, 'g\n'), /the key of key 1 version 1 is malformed$/],
    ['a shorter key', one.replace(/..\n$/, '\n'), /the key of key 1 version 1 is malformed$/],
    ['key id 0', one.replace('\n1;1;', '\n0;1;'), 'line 3 is malformed'],
    ['an unknown algorithm', one.replace('AES_CBC', 'AES_XTS'), 'line 3 is malformed'],
    ['a key twice', `${one}${one.split('\n')[2]}\n`, 'key 1 version 1 is there twice'],
  ])('with %s is refused', async (_, text, reason) => {
    const expected = typeof reason === 'string' ? `the escrow copy: ${reason}` : reason;
    const error = await expectKeyError(() => parseCopy(Buffer.from(text)), 'KEY_FILE_CORRUPT', expected);
    expect(`${error.message}${error.hint}`).not.toMatch(/[0-9a-f]{20}/);
  });
});

describe('age', () => {
  it.each([
    ['X25519', generateX25519Identity, /^age1/],
    ['hybrid', generateHybridIdentity, /^age1pq1/],
  ])('opens for each %s identity of a recipient, and for no other', async (_, generate, form) => {
    const identities = await Promise.all([generate(), generate(), generate()]);
    const [first, second] = await Promise.all(identities.map(identityToRecipient));
    if (first === undefined || second === undefined) throw new Error('two recipients are made');
    expect(first).toMatch(form);
    const file = await encryptFor([first, second], Buffer.from('text'));
    for (const identity of identities.slice(0, 2))
      expect((await decryptWith([identity], file)).toString()).toBe('text');
    const [, , other = ''] = identities;
    await expectKeyError(decryptWith([other], file), 'KEY_FILE_CORRUPT', /^the escrow copy cannot be opened: /);
    const spoilt = Buffer.from(file);
    spoilt[spoilt.length - 1] = (spoilt.at(-1) ?? 0) ^ 1;
    await expectKeyError(decryptWith(identities, spoilt), 'KEY_FILE_CORRUPT', /^the escrow copy cannot be opened: /);
  });

  it('refuses recipients that are none, and never repeats a secret', async () => {
    await expectKeyError(encryptFor(['age1x'], Buffer.of()), 'BAD_OPTION', '--recipient: age1x is no recipient of age');
    const identity = await generateX25519Identity();
    const error = await expectKeyError(
      encryptFor([identity], Buffer.of()),
      'BAD_OPTION',
      '--recipient: that is an identity, the secret half',
    );
    expect(`${error.message}${error.hint}`).not.toContain(identity);
    await expectKeyError(
      decryptWith(['AGE-SECRET-KEY-1QQQ'], Buffer.of()),
      'BAD_OPTION',
      '--identity: the file holds a malformed identity of age',
    );
  });

  it('takes the identities of a file with remarks, and no encrypted one', async () => {
    expect(identitiesIn('# created\n# public key: age1x\nAGE-SECRET-KEY-1ABC\n')).toEqual(['AGE-SECRET-KEY-1ABC']);
    for (const text of ['', '# nothing\n', 'age-encryption.org/v1\n-> scrypt x\n'])
      await expectKeyError(() => identitiesIn(text), 'BAD_OPTION', '--identity: the file holds no identity of age');
  });
});
