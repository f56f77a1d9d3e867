import { writeFileSync } from 'node:fs';
import { endianness } from 'node:os';

const RLIMIT_CORE = 4;
/** core(5): with a limit of 1 byte a program that takes core dumps is not started either; it would record the environment. */
const NO_CORE = 1n;

/**
 * Keeps secrets out of core dumps of this process and of those it starts. The memory goes into none (core(5),
 * coredump_filter), and where the limit may be changed there is none at all. The plugin limits the agent that it starts.
 * @returns why it is not so; undefined: it is
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

/** Node.js offers no setrlimit(2). Its interface to C is experimental: without it the memory alone is protected. */
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
  // A hard limit of 0 cannot be raised.
  if (setrlimit(RLIMIT_CORE, limits(0n)) !== 0) throw new Error('setrlimit refused');
}
