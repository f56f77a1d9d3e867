/** Pieces of docs/reference.md that its generated parts share. */

const WIDTH = 132;

/**
 * Returns a section with a heading of its own, so that links can name the variable.
 * @param facts labels and their texts, as in MariaDB's own pages; a fact without text is left out
 */
export function section(
  name: string,
  sentence: string,
  paragraphs: readonly string[],
  facts: readonly (readonly [label: string, text: string | undefined])[],
): string {
  const list = facts.flatMap(([label, text]) => (text === undefined ? [] : [`- ${label}: ${text}`]));
  return [`### ${name}`, ...[`${sentence}.`, ...paragraphs].map(readable), list.join('\n')].join('\n\n');
}

/** Breaks a paragraph, unless it is code, into lines of at most `WIDTH` characters, for readers of the file itself. */
function readable(paragraph: string): string {
  if (paragraph.startsWith('```')) return paragraph;
  return paragraph.replaceAll(new RegExp(`(.{1,${WIDTH}})(?: |$)`, 'gm'), '$1\n').trimEnd();
}

export function choices(values: readonly string[]): string {
  return values.map(code).join(', ');
}

export function code(text: string | number): string {
  return `\`${text}\``;
}
