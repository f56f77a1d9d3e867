/**
 * Man pages and bash completion of the command, made from its own definition: `node scripts/manual.ts` writes
 * build/man/*.1 and build/completion/mariadb-aws-kms.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createProgram } from '../src/cli/commands.ts';
import { bashCompletion } from './manual/completion.ts';
import { manPages } from './manual/man-page.ts';
import { readSource } from './source.ts';

/** @param out the build directory; `man` and `completion` in it are made anew */
export function writeManual(out: string): void {
  const program = createProgram();
  const { version, epoch } = readSource();
  const date = new Date(epoch * 1000).toISOString().slice(0, 'YYYY-MM-DD'.length);
  writeAll(join(out, 'man'), manPages(program, { version: `${program.name()} ${version}`, date }));
  writeAll(join(out, 'completion'), new Map([[program.name(), bashCompletion(program)]]));
}

function writeAll(directory: string, files: ReadonlyMap<string, string>): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of files) writeFileSync(join(directory, name), text);
}

if (import.meta.main) writeManual(join(import.meta.dirname, '../build'));
