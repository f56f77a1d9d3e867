/** Reports of an audit, read as strictly as their formats allow. Each function throws for what is wrong. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { schemaErrors } from '../support/json-schema.ts';

/** Control characters but the line feed, separators of lines, and what reorders a line. */
const UNPRINTABLE = /[[\p{Cc}--[\n]]\p{Zl}\p{Zp}\p{Bidi_Control}]/v;
const SCHEMA: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/audit.schema.json'), 'utf8'));

/** A tag without its brackets. Its attributes are quoted. */
const TAG = /^(\/?)([a-z][a-z0-9]*)((?: [A-Za-z][\w-]*(?:="[^"<>]*")?)*)(\/?)$/;
const BARE = /&(?!(?:amp|lt|gt|quot|#39);)/;
const HEAD = [
  'html',
  'head',
  'meta',
  'title',
  'style',
  'body',
  'main',
  'svg',
  'defs',
  'pattern',
  'rect',
  'path',
  'text',
];
const LISTS = ['h1', 'h2', 'p', 'ul', 'li', 'b', 'div', 'table', 'caption', 'thead', 'tbody', 'tr', 'th', 'td', 'desc'];
const TAGS: ReadonlySet<string> = new Set([...HEAD, ...LISTS, 'details', 'summary']);
const ACTIVE = / (?:on\w+|src|href|style|srcdoc|action|xlink)(?:[=\s]|$)/;

function fail(what: string, text: string): never {
  throw new Error(`${what}: ${JSON.stringify(text.slice(0, 300))}`);
}

/** @param files rows of the document's last table */
export function expectHtml(html: string, files: number): void {
  const start = '<!DOCTYPE html>\n';
  if (!html.startsWith(start)) fail('no document type', html);
  const body = html.slice(start.length).replace(/<style>[^<]*<\/style>/, '');
  if (UNPRINTABLE.test(body)) fail('the document has a control character', body);
  if (BARE.test(body)) fail('a bare ampersand', body.slice(body.search(BARE)));
  const open: string[] = [];
  const ids = new Set<string>();
  for (const piece of body.split('<').slice(1)) {
    const end = piece.indexOf('>');
    const text = piece.slice(0, Math.max(0, end));
    const tag = known.get(text) ?? tagOf(text);
    if (tag === undefined || piece.includes('>', end + 1)) fail('neither a tag nor a text', piece);
    const { name, id, kind } = tag;
    if (id !== undefined && ids.has(id)) fail('an id is there twice', id);
    if (id !== undefined) ids.add(id);
    if (kind === 'start') open.push(name);
    else if (kind === 'end' && open.pop() !== name) fail('an end of another element', piece);
    if (text.length < SHORT) known.set(text, tag);
  }
  if (open.length > 0) fail('elements have no end', open.join(' '));
  const rows = body.slice(body.lastIndexOf('<tbody>')).split('<tr>').length - 1;
  if (rows !== files) fail(`${files} files are ${rows} rows`, body);
}

interface Tag {
  readonly name: string;
  readonly id: string | undefined;
  readonly kind: 'start' | 'end' | 'empty';
}

/** Tags that were read before; long ones are rarely there again. */
const known = new Map<string, Tag>();
const SHORT = 24;

/** @returns undefined for what is no tag, or one that no report has */
function tagOf(text: string): Tag | undefined {
  const [, close, name = '', attributes = '', empty] = TAG.exec(text) ?? [];
  if (!TAGS.has(name) || ACTIVE.test(attributes)) return undefined;
  const kind = close === '/' ? 'end' : empty === '/' || name === 'meta' ? 'empty' : 'start';
  return { name, id: / id="([^"]*)"/.exec(attributes)?.[1], kind };
}

/** The text format, version 0.0.4, whose samples the textfile collector takes once each. */
export function expectMetrics(text: string): void {
  if (!text.endsWith('\n')) fail('the last line has no end', text.slice(-100));
  const families = new Set<string>();
  const samples = new Set<string>();
  let [family, lines] = ['', 0];
  for (const line of text.slice(0, -1).split('\n')) {
    if (UNPRINTABLE.test(line)) fail('a line has a control character', line);
    const help = /^# HELP ([a-z_]+) \S/.exec(line)?.[1];
    if (help !== undefined) {
      if (families.has(help)) fail('a family is there twice', line);
      families.add(help);
      [family, lines] = [help, 0];
      continue;
    }
    if (line.startsWith('#')) {
      if (line !== `# TYPE ${family} gauge` || lines > 0) fail('no line of a type', line);
      lines += 1;
      continue;
    }
    const [, sample = '', name, value] = SAMPLE.exec(line) ?? [];
    if (name !== family || lines === 0) fail('no sample of its family', line);
    if (samples.has(sample)) fail('a sample is there twice', line);
    if (!Number.isFinite(Number(value))) fail('no number', line);
    samples.add(sample);
  }
}
const SAMPLE =
  /^(([a-z_]+)\{[a-z_]+="(?:[^"\\]|\\[\\"n])*"(?:,[a-z_]+="(?:[^"\\]|\\[\\"n])*")*\}) (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;

/** @param files names of the audited files, in their order */
export function expectJson(text: string, files: readonly string[]): void {
  if (UNPRINTABLE.test(text)) fail('the JSON has a control character', text);
  const value: unknown = JSON.parse(text);
  if (!isObject(SCHEMA)) throw new Error('the schema is no object');
  const [wrong] = schemaErrors(SCHEMA, value);
  if (wrong !== undefined) fail('not as the schema has it', wrong);
  const found = isObject(value) && Array.isArray(value['files']) ? value['files'] : [];
  const names = found.map((file: unknown) => (isObject(file) ? file['file'] : undefined));
  if (names.length !== files.length || names.some((name, at) => name !== files[at]))
    fail('other files', JSON.stringify(names));
}

/** @param columns of the terminal that the lines are to fit; undefined: any number of lines and characters may be there */
export function expectLines(lines: readonly string[], columns?: number): void {
  const bad = lines.find((line) => UNPRINTABLE.test(line) || line.includes('\n'));
  if (bad !== undefined) fail('a line has a control character', bad);
  if (columns === undefined) return;
  const long = lines.find((line) => line.length > columns);
  if (long !== undefined) fail(`a line of ${long.length} characters`, long);
  if (lines.length > SCREEN) fail(`${lines.length} lines`, lines.join('\n'));
}
/** Lines of a terminal, without that of its prompt. */
const SCREEN = 23;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
