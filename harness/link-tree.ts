/** Merges directory trees into one tree of links in which some files can be replaced; the originals stay untouched. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/**
 * Fills `target` with links to `sources` laid over each other; the first that has a file wins. Names in `without` are
 * left out, and the directories on the way to them are real ones, into which replacements can be written. Paths are
 * relative to the roots. In real directories, files that `copied` selects are copies instead of links.
 */
export function linkTree(
  sources: readonly string[],
  target: string,
  without: ReadonlySet<string>,
  copied: (path: string) => boolean,
): void {
  const real = new Set([...without].flatMap(ancestors));
  const link = (path: string): void => {
    const found = sources.map((source) => join(source, path)).filter(isDirectory);
    mkdirSync(join(target, path), { recursive: true });
    for (const name of new Set(found.flatMap((directory) => readdirSync(directory)))) {
      const child = join(path, name);
      if (without.has(child)) continue;
      const originals = sources.map((source) => join(source, child)).filter(exists);
      const [original] = originals;
      if (original === undefined) continue;
      if (isDirectory(original) && (real.has(child) || originals.length > 1)) link(child);
      else if (copied(child)) copyFileSync(original, join(target, child));
      else symlinkSync(original, join(target, child));
    }
  };
  link('.');
}

/** Every file below `root` whose text matches, by its path relative to `from`. */
export function filesWith(pattern: RegExp, root: string, from: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const text = readFileSync(file, 'latin1');
    if (pattern.test(text)) found.set(relative(from, file), text);
  }
  return found;
}

function ancestors(path: string): string[] {
  const parent = dirname(path);
  return parent === '.' ? ['.'] : [parent, ...ancestors(parent)];
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
