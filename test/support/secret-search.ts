import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The shortest piece of a secret, in bytes, that is searched for. */
const PIECE_BYTES = 10;
const HASH_BITS = 22;

interface Piece {
  readonly bytes: Buffer;
  readonly is: string;
}

interface Form {
  readonly name: string;
  readonly bytes: Buffer;
  /** Characters that encode PIECE_BYTES bytes of the secret. */
  readonly pieceLength: number;
}

/** Searches for secrets and pieces of them, in every form in which programs write bytes. */
export class SecretSearch {
  readonly #pieces = new Map<number, Piece[]>();
  /** Marks the hashes of the pieces, to search a large data directory fast. */
  readonly #hashes = new Uint8Array(2 ** HASH_BITS);

  constructor(secrets: Iterable<readonly [name: string, secret: string | Uint8Array]>) {
    for (const [name, secret] of secrets) {
      for (const form of formsOf(Buffer.from(secret))) this.#add(`${name} as ${form.name}`, form);
    }
  }

  /** Returns the secrets found, as `NAME as FORM`. */
  in(place: string | Uint8Array): readonly string[] {
    const bytes =
      typeof place === 'string' ? Buffer.from(place) : Buffer.from(place.buffer, place.byteOffset, place.length);
    const found = new Set<string>();
    for (let at = 0; at + 4 <= bytes.length; at += 1) {
      const start = bytes.readInt32LE(at);
      if (this.#hashes[hash(start)] === 0) continue;
      for (const piece of this.#pieces.get(start) ?? []) {
        if (
          bytes.compare(piece.bytes, 0, piece.bytes.length, at, Math.min(at + piece.bytes.length, bytes.length)) === 0
        )
          found.add(piece.is);
      }
    }
    return [...found];
  }

  /** Returns secrets in files of a directory and below, as `NAME as FORM in PATH`. */
  inFiles(directory: string): readonly string[] {
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .flatMap((path) => this.in(readFileSync(path)).map((found) => `${found} in ${path}`));
  }

  #add(is: string, { bytes, pieceLength }: Form): void {
    for (let at = 0; at === 0 || at + pieceLength <= bytes.length; at += 1) {
      const piece = bytes.subarray(at, at + pieceLength);
      const start = piece.readInt32LE(0);
      this.#hashes[hash(start)] = 1;
      const sameStart = this.#pieces.get(start) ?? [];
      sameStart.push({ bytes: piece, is });
      this.#pieces.set(start, sameStart);
    }
  }
}

function hash(start: number): number {
  return Math.imul(start, 0x9e3779b1) >>> (32 - HASH_BITS);
}

function formsOf(secret: Buffer): readonly Form[] {
  const form = (name: string, text: string, growth: number): Form => ({
    name,
    bytes: Buffer.from(text),
    pieceLength: Math.floor(PIECE_BYTES * growth),
  });
  const hex = secret.toString('hex');
  const text = secret.toString();
  const isText = Buffer.from(text).equals(secret);
  const forms: readonly Form[] = [
    { name: 'raw bytes', bytes: secret, pieceLength: PIECE_BYTES },
    form('hex', hex, 2),
    form('HEX', hex.toUpperCase(), 2),
    ...[0, 1, 2].flatMap((offset) => [
      form('base64', inside(secret, offset, 'base64'), 4 / 3),
      form('base64url', inside(secret, offset, 'base64url'), 4 / 3),
    ]),
    ...(isText ? [form('URL', encodeURIComponent(text), 1), form('JSON', JSON.stringify(text).slice(1, -1), 1)] : []),
  ];
  // A form that equals an earlier one is left out.
  return forms.filter(({ bytes }, index) => forms.findIndex((other) => other.bytes.equals(bytes)) === index);
}

/** The characters that depend on the secret alone, when it begins `offset` bytes after a multiple of three. */
function inside(secret: Buffer, offset: number, encoding: 'base64' | 'base64url'): string {
  const text = Buffer.concat([Buffer.alloc(offset), secret]).toString(encoding);
  const bits = (bytes: number): number => bytes * 8;
  return text.slice(Math.ceil(bits(offset) / 6), Math.floor(bits(offset + secret.length) / 6));
}
