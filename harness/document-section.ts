import { readFileSync, writeFileSync } from 'node:fs';

/** Replaces what is between `<!-- NAME -->` and `<!-- end of NAME -->`, each on a line of its own. */
export function writeSection(file: string, name: string, text: string): void {
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- end of ${name} -->\n`];
  const document = readFileSync(file, 'utf8');
  const [from, to] = [document.indexOf(start), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file}: no section ${name}`);
  writeFileSync(file, `${document.slice(0, from)}${start}${text}${document.slice(to)}`);
}
