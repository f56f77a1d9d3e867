import { expect, it } from 'vitest';
import { printable, printableJson } from '../../src/printable.ts';

/** As C0, DEL, C1, the separators and the controls of direction (Unicode Standard Annex 9) are. */
const COMMANDS = [
  ...Array.from({ length: 0x20 }, (_, code) => code),
  ...Array.from({ length: 0x21 }, (_, index) => 0x7f + index),
  0x2028,
  0x2029,
  0x061c,
  0x200e,
  0x200f,
  ...[0x202a, 0x202b, 0x202c, 0x202d, 0x202e],
  ...[0x2066, 0x2067, 0x2068, 0x2069],
].map((code) => String.fromCharCode(code));

it('a printable line contains no control character, and the rest of the text', () => {
  for (const command of COMMANDS) expect(printable(`before${command}after`)).toBe('before after');
  expect(printable('\x1b[2J\x1b]0;owned\x07\nmariadb-aws-kms: note: all fine')).toBe(
    ' [2J ]0;owned mariadb-aws-kms: note: all fine',
  );
  const text = 'Schlüssel 鍵 مفتاح 🔑 "…" \\ \u00a0 \u00ad';
  expect(printable(text)).toBe(text);
});

it('printable JSON contains no control character, and has the same value', () => {
  const value = { [COMMANDS.join('')]: [COMMANDS.join('x'), 'Schlüssel 鍵 🔑', '\ud800', null, 1.5, true, {}] };
  for (const indent of [undefined, 2]) {
    const text = printableJson(value, indent);
    expect(JSON.parse(text)).toEqual(value);
    expect(text.split('\n').map(printable).join('\n')).toBe(text);
    expect(text.includes('\n')).toBe(indent !== undefined);
  }
});
