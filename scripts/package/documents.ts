/** The documents of the sources as a package ships them: without links to what it does not. */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, normalize, relative } from 'node:path';

const LINK = /\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)/g;

/**
 * Writes one document. A link to a file that is not shipped becomes the name of the file.
 * @param document path in the sources, such as `docs/aws.md`
 * @param target file that is written
 * @param shipped paths in the directory of documents by those in the sources, such as `LICENSE.txt` by `LICENSE`
 */
export function writeDocument(
  root: string,
  document: string,
  target: string,
  shipped: ReadonlyMap<string, string>,
): void {
  writeFileSync(target, withShippedLinks(readFileSync(join(root, document), 'utf8'), document, shipped));
}

/** @returns the text of the document, whose place among the shipped ones is that in the sources */
export function withShippedLinks(text: string, document: string, shipped: ReadonlyMap<string, string>): string {
  return text.replaceAll(LINK, (link, words: string, target: string, anchor = '') => {
    if (/^[a-z]+:/.test(target)) return link;
    const file = normalize(join(dirname(document), target)).replace(/\/$/, '');
    const place = shipped.get(file);
    if (place !== undefined) return `[${words}](${relative(dirname(document), place)}${anchor})`;
    if (words.includes(file)) return words.replace(`../${file}`, file);
    return words.includes(basename(file)) ? words.replace(basename(file), file) : `${words} (\`${file}\`)`;
  });
}
