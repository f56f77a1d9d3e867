import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { refuseNewerSymbols } from '../../scripts/package/symbols.ts';

const scratch = mkdtempSync(join(tmpdir(), 'mak-symbols-'));

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function compile(name: string, source: string): string {
  const library = join(scratch, `${name}.so`);
  writeFileSync(join(scratch, `${name}.c`), source);
  execFileSync('gcc', ['-shared', '-fPIC', '-o', library, join(scratch, `${name}.c`)]);
  return library;
}

it('a library that needs a symbol of glibc 2.36 is refused, with the symbol', () => {
  const newer = compile('newer', '#include <stdlib.h>\nunsigned draw(void) { return arc4random(); }\n');
  expect(() => refuseNewerSymbols([newer])).toThrow(/newer\.so needs symbols.*\n.*GLIBC_2\.36.*arc4random/s);
});

it('a library that needs old symbols alone passes, and one that needs none is taken for a mistake', () => {
  const old = compile('old', '#include <stdlib.h>\nint draw(void) { return rand(); }\n');
  refuseNewerSymbols([old]);
  const empty = join(scratch, 'none.so');
  writeFileSync(join(scratch, 'none.c'), 'int one(void) { return 1; }\n');
  execFileSync('gcc', ['-shared', '-fPIC', '-nostdlib', '-o', empty, join(scratch, 'none.c')]);
  expect(() => refuseNewerSymbols([old, empty])).toThrow('needs no symbol at all');
});
