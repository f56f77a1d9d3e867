/**
 * The text in an escrow copy, a line for each data key: `id;version;algorithm;key check value;key in hex`. Lines that
 * begin with # are remarks.
 */
import { HEX_DIGITS, isDataKeyLength, joinLines, keyCheckValue, lineWithKey, wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { isKeyId, isKeyVersion, parseDecimal } from '../ids.ts';

export interface EscrowedKey {
  readonly name: KeyName;
  readonly algorithm: EncryptionAlgorithm;
  /** The caller wipes it. */
  readonly dataKey: Buffer;
}

const TITLE = '# mariadb-aws-kms escrow 1';
const [LINE_FEED, SEMICOLON, HASH] = [0x0a, 0x3b, 0x23];

/** Returns the text; no string ever holds a key. The caller wipes it. */
export function formatCopy(keys: readonly EscrowedKey[], about: readonly string[]): Buffer {
  const head = [TITLE, ...about.map((line) => `# ${line}`), '# id;version;algorithm;key check value;key'];
  const lines = keys.map(({ name, algorithm, dataKey }) =>
    lineWithKey(`${name.id};${name.version};${algorithm};${keyCheckValue(dataKey)};`, dataKey),
  );
  return joinLines(`${head.join('\n')}\n`, lines);
}

/** Parses the text. @throws KeyError KEY_FILE_CORRUPT; the keys read so far are wiped */
export function parseCopy(text: Buffer): readonly EscrowedKey[] {
  const keys: EscrowedKey[] = [];
  const names = new Set<string>();
  try {
    if (text.toString('latin1', 0, TITLE.length + 1) !== `${TITLE}\n`) throw corrupt('it is no escrow of this program');
    for (let start = 0, number = 1; start < text.length; number += 1) {
      const found = text.indexOf(LINE_FEED, start);
      if (found < 0) throw corrupt(`line ${number} has no end`);
      if (text[start] !== HASH) {
        const key = parseLine(text.subarray(start, found), number);
        keys.push(key);
        if (names.has(describeKey(key.name))) throw corrupt(`${describeKey(key.name)} is there twice`);
        names.add(describeKey(key.name));
      }
      start = found + 1;
    }
    return keys;
  } catch (error) {
    for (const { dataKey } of keys) wipe(dataKey);
    throw error;
  }
}

function parseLine(line: Buffer, number: number): EscrowedKey {
  const end = line.lastIndexOf(SEMICOLON);
  const [id, version, algorithm, check, ...more] = line.toString('latin1', 0, Math.max(end, 0)).split(';');
  const [keyId, keyVersion] = [parseDecimal(id ?? ''), parseDecimal(version ?? '')];
  const known = ENCRYPTION_ALGORITHMS.find((each) => each === algorithm);
  const isNamed = keyId !== undefined && keyVersion !== undefined && isKeyId(keyId) && isKeyVersion(keyVersion);
  if (!isNamed || known === undefined || more.length > 0) throw corrupt(`line ${number} is malformed`);
  const name = { id: keyId, version: keyVersion };
  const dataKey = unhex(line.subarray(end + 1));
  if (dataKey === undefined) throw corrupt(`line ${number}: the key of ${describeKey(name)} is malformed`);
  if (keyCheckValue(dataKey) === check) return { name, algorithm: known, dataKey };
  wipe(dataKey);
  throw corrupt(`line ${number}: ${describeKey(name)} is not the key that its check value tells`);
}

function unhex(digits: Buffer): Buffer | undefined {
  const bytes = Buffer.alloc(digits.length / 2);
  if (!isDataKeyLength(digits.length / 2)) return undefined;
  for (const index of bytes.keys()) {
    const [high, low] = [HEX_DIGITS.indexOf(digits[index * 2] ?? 0), HEX_DIGITS.indexOf(digits[index * 2 + 1] ?? 0)];
    if (high < 0 || low < 0) return undefined;
    bytes[index] = high * 16 + low;
  }
  return bytes;
}

function corrupt(reason: string): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `the escrow copy: ${reason}`, {
    hint: 'make a new one while KMS opens the keys: mariadb-aws-kms escrow',
  });
}
