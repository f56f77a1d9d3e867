import { writeFileSync } from 'node:fs';
import { endianness } from 'node:os';

const RLIMIT_CORE = 4;
/**
 * A core limit of 1 byte: with it the kernel does not even start a program that collects core dumps (core(5)), which
 * would record the environment.
 */
const NO_CORE = 1n;

/**
 * Keeps secrets out of core dumps of this process and its children. Their memory is excluded (core(5),
 * coredump_filter), and where the limit may be changed no core is dumped at all. The plugin sets the limit for the
 * agent that it starts.
 * @returns the reason why it failed; undefined: it succeeded
 */
export async function forbidCoreDumps(isLimitedAlready: boolean): Promise<string | undefined> {
  const failures: string[] = [];
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
  } catch (error) {
    failures.push(String(error));
  }
  if (isLimitedAlready) return undefined;
  try {
    await limitCore();
  } catch (error) {
    failures.push(String(error));
  }
  return failures.length < 2 ? undefined : failures.join('; ');
}

/**
 * Sets the core limit. Node.js offers no setrlimit(2); where its experimental C interface is missing, only the memory
 * filter applies.
 */
async function limitCore(): Promise<void> {
  const { dlopen } = await import('node:ffi');
  using library = dlopen(null, { setrlimit: { arguments: ['i32', 'pointer'], return: 'i32' } });
  const { setrlimit } = library.functions;
  // struct rlimit: soft and hard.
  const limits = (bytes: bigint): Buffer => {
    const both = Buffer.alloc(16);
    for (const at of [0, 8]) {
      if (endianness() === 'LE') both.writeBigUInt64LE(bytes, at);
      else both.writeBigUInt64BE(bytes, at);
    }
    return both;
  };
  if (setrlimit(RLIMIT_CORE, limits(NO_CORE)) === 0) return;
  // A hard limit of 0 cannot be raised again.
  if (setrlimit(RLIMIT_CORE, limits(0n)) !== 0) throw new Error('setrlimit refused');
}
