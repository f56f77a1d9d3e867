/**
 * Shortens a message without a change of its CRC-32C. The polynomial divides
 * x^(128·79) + x^(128·75) + x^(128·71) + x^(128·58) + x^(128·18) + x^(128·12) + x^128 + 1,
 * so a block of 16 bytes can be added (XORed) to seven blocks behind it and then counts as zeros. WebAssembly adds a
 * block with one instruction, and the checksum of a page is left to compute from its last blocks.
 */

/** The part that is used here: TypeScript knows it only among the DOM's types. */
declare const WebAssembly:
  | {
      validate(program: Uint8Array): boolean;
      readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
      readonly Module: new (program: Uint8Array) => object;
      readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
    }
  | undefined;

/** Blocks from one that is added to those that it is added to. */
const DISTANCES = [4, 8, 21, 61, 67, 78, 79] as const;
const BLOCK = 16;
/** Blocks that an iteration of the program folds: none of them is added to another. */
const UNROLLED = 4;
const STEP = UNROLLED * BLOCK;
/** Bytes from a block to the furthest that it is added to. */
const SPAN = 79 * BLOCK;

/** Bytes that are folded at once. */
const MOST_BYTES = 65_536;
/** Shorter messages would mostly be copied. */
export const LEAST_FOLDED = 4096;
/** In the memory, zeros of the length SPAN stand before the head of a message and behind it. Its tail is here. */
const TAIL = 2 * SPAN + MOST_BYTES;
const MEMORY_PAGES = 2;

/** Computes the state after the bytes from that before them: a checksum without the complements at both ends. */
export type RawChecksum = (bytes: Uint8Array, state: number) => number;

/**
 * Returns a faster way to compute long checksums; undefined where there is no WebAssembly, as without a JIT, or none with
 * instructions of 128 bits.
 * @param rest computes the checksum of what is left of a message
 */
export function foldingChecksum(rest: RawChecksum): RawChecksum | undefined {
  if (typeof WebAssembly === 'undefined') return undefined;
  const program = Uint8Array.from(makeProgram());
  if (!WebAssembly.validate(program)) return undefined;
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES });
  const { fold } = new WebAssembly.Instance(new WebAssembly.Module(program), { a: { memory } }).exports;
  if (typeof fold !== 'function') return undefined;
  const space = Buffer.from(memory.buffer);
  return (bytes, before) => {
    let state = before;
    let at = 0;
    for (; bytes.length - at >= LEAST_FOLDED; ) {
      const part = bytes.subarray(at, at + MOST_BYTES);
      const head = Math.floor((part.length - SPAN) / STEP) * STEP;
      const tail = space.subarray(TAIL, TAIL + part.length - head);
      space.set(part.subarray(0, head), SPAN);
      tail.set(part.subarray(head));
      space.writeInt32LE(space.readInt32LE(SPAN) ^ state, SPAN);
      fold(head);
      state = rest(tail, 0);
      // The data is not kept, and the next message finds zeros behind it.
      space.fill(0, SPAN, SPAN + head);
      tail.fill(0);
      at += part.length;
    }
    return rest(bytes.subarray(at), state);
  };
}

/** Returns a WebAssembly module with `fold`: it takes the bytes of the head, a multiple of STEP above 0. */
function makeProgram(): number[] {
  const [head, from, to] = [0, 1, 2];
  const get = (local: number): number[] => [0x20, local];
  const load = (local: number, offset: number): number[] => [...get(local), 0xfd, 0x00, 4, ...number(offset)];
  /** Stores a block with those added that are at the distances before it. */
  const add = (target: number, targetOffset: number, offset: number): number[] => [
    ...get(target),
    ...load(target, targetOffset),
    ...DISTANCES.flatMap((distance) => [...load(from, offset - distance * BLOCK), 0xfd, 0x51]),
    ...[0xfd, 0x0b, 4, ...number(targetOffset)],
  ];
  const increase = (local: number, bytes: number): number[] => [
    ...get(local),
    0x41,
    ...number(bytes),
    0x6a,
    0x22,
    local,
  ];
  /** Repeats the body while the number on top of the stack is below the limit. */
  const loop = (body: readonly number[], limit: readonly number[]): number[] => [
    ...[0x03, 0x40, ...body, ...limit, 0x49, 0x0d, 0],
    0x0b,
  ];
  const blocks = Array.from({ length: UNROLLED }, (_, block) => SPAN + block * BLOCK);
  const code = [
    ...[1, 2, 0x7f],
    ...loop([...blocks.flatMap((offset) => add(from, offset, offset)), ...increase(from, STEP)], get(head)),
    ...loop([...add(to, TAIL, SPAN), ...increase(from, BLOCK), 0x1a, ...increase(to, BLOCK)], [0x41, ...number(SPAN)]),
    0x0b,
  ];
  return [
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [0x60, 1, 0x7f, 0]),
    ...section(2, [...name('a'), ...name('memory'), 2, 0, MEMORY_PAGES]),
    ...section(3, [0]),
    ...section(7, [...name('fold'), 0, 0]),
    ...section(10, [...number(code.length), ...code]),
  ];
}

/** A section with one element. */
function section(id: number, element: readonly number[]): number[] {
  return [id, ...number(element.length + 1), 1, ...element];
}

function name(text: string): number[] {
  return [text.length, ...Buffer.from(text)];
}

/** A number from 0 on, in groups of seven bits; the highest bit of the last group is 0, because it can be a sign. */
function number(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...number(value >>> 7)];
}
