import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Undoes something when the running test ends, also when it fails. Later actions run first. */
export function cleanUp(action: () => void | Promise<void>): void {
  onTestFinished(action);
}

/** A directory for the running test, removed at its end. */
export function scratchDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'mak-'));
  cleanUp(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Polls until `check` holds. */
export async function until(what: string, check: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  const endMs = performance.now() + seconds * 1000;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`waited ${seconds} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
