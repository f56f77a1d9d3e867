import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const CODE_BLOCK = /^```[\s\S]*?^```$/gm;

/** @returns the text of a document without its blocks of code */
export function proseOf(path: string): string {
  return readFileSync(path, 'utf8').replaceAll(CODE_BLOCK, '');
}

/** The fragments by which a forge links to the headings of a document. */
function anchorsOf(path: string): ReadonlySet<string> {
  const headings = [...proseOf(path).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** @returns the targets of links in a document to files or headings that do not exist */
export function deadLinksOf(path: string): readonly string[] {
  const targets = [...proseOf(path).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [file = '', anchor] = target.split('#');
      const linked = file === '' ? path : join(dirname(path), file);
      if (!existsSync(linked)) return true;
      return anchor !== undefined && !anchorsOf(linked).has(anchor);
    });
}
