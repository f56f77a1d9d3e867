/** HTML and SVG that is escaped where it is put together. */
import { printable } from '../../printable.ts';

/** Text that is markup. Everything else is escaped. */
export class Markup {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

type Part = string | number | Markup | readonly Markup[];

/** A template whose values are escaped, unless they are markup. Values stand in texts or in quoted attributes. */
export function markup(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(strings.map((text, at) => text + (at < parts.length ? written(parts[at] ?? '') : '')).join(''));
}

function written(part: Part): string {
  if (part instanceof Markup) return `${part}`;
  if (typeof part === 'string' || typeof part === 'number') return escaped(`${part}`);
  return part.join('\n');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** File names are anything: what could forge markup, or reorder a line, is not left in them. */
function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
