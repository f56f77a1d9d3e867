/** The vectors of test/vectors/data-files; the README.md there explains the lines. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface DataFileVector {
  readonly vector: string;
  readonly kind: string;
  readonly name: string;
  readonly bytes: Buffer;
  /** The second file of an Aria table. */
  readonly data: Buffer | undefined;
  readonly uses: string;
}

const DIRECTORY = join(import.meta.dirname, '../vectors/data-files');

export function dataFileVectors(): readonly DataFileVector[] {
  const known = new Map<string, DataFileVector>();
  for (const file of ['recorded.txt', 'specified.txt', 'spoiled.txt']) {
    const text = readFileSync(join(DIRECTORY, file), 'utf8');
    for (const block of text.split(/\n\n+/).filter((lines) => /^vector /m.test(lines))) {
      const vector = parseVector(block, known);
      if (known.has(vector.vector)) throw new Error(`${file}: ${vector.vector} is there twice`);
      known.set(vector.vector, vector);
    }
  }
  return [...known.values()];
}

function parseVector(block: string, known: ReadonlyMap<string, DataFileVector>): DataFileVector {
  let [vector, kind, name, uses] = ['', '', '', ''];
  let bytes: Buffer = Buffer.alloc(0);
  let data: Buffer | undefined;
  for (const line of block.split('\n').filter((text) => text !== '' && !text.startsWith('#'))) {
    const [word = '', ...rest] = line.split(' ');
    const value = rest.join(' ');
    const put = (into: Buffer): void => {
      const piece = Buffer.from(rest[1] ?? '', 'hex');
      if (piece.copy(into, Number(rest[0])) !== piece.length)
        throw new Error(`${vector}: ${word} ${rest[0]} is outside`);
    };
    switch (word) {
      case 'vector':
        vector = value;
        break;
      case 'from':
        break;
      case 'like': {
        const like = known.get(value);
        if (like === undefined) throw new Error(`${vector} is like ${value}, which is none`);
        ({ kind, name } = like);
        bytes = Buffer.from(like.bytes);
        data = like.data === undefined ? undefined : Buffer.from(like.data);
        break;
      }
      case 'kind':
        kind = value;
        break;
      case 'name':
        name = value;
        break;
      case 'size':
        bytes = resized(bytes, Number(value));
        break;
      case 'at':
        put(bytes);
        break;
      case 'data-size':
        data = resized(data ?? Buffer.alloc(0), Number(value));
        break;
      case 'data-at':
        put(data ?? Buffer.alloc(0));
        break;
      case 'uses':
        uses = value;
        break;
      default:
        throw new Error(`${vector}: no line begins with ${word}`);
    }
  }
  return { vector, kind, name, bytes, data, uses };
}

function resized(bytes: Buffer, size: number): Buffer {
  return Buffer.concat([bytes.subarray(0, size), Buffer.alloc(Math.max(0, size - bytes.length))]);
}
