/**
 * Parsers for systemd's texts: units and their drop-ins (systemd.syntax(7)), `Environment=` and environment files
 * (systemd.exec(5)). Text that systemd would refuse is ignored, as systemd does with a message in its own log.
 */

export interface UnitLine {
  readonly section: string;
  readonly name: string;
  readonly value: string;
}

export function parseUnit(text: string): readonly UnitLine[] {
  const lines: UnitLine[] = [];
  let section = '';
  for (const line of logicalLines(text)) {
    const header = /^\[(.+)\]$/.exec(line)?.[1];
    if (header !== undefined) {
      section = header;
      continue;
    }
    const [, name, value] = /^([A-Za-z0-9]+)\s*=\s*(.*)$/s.exec(line) ?? [];
    if (name !== undefined && value !== undefined) lines.push({ section, name, value });
  }
  return lines;
}

/** Joins lines: a backslash at the end continues the line with a blank; comments in between are skipped. */
function logicalLines(text: string): readonly string[] {
  const lines: string[] = [];
  let open: string | undefined;
  for (const written of text.split(/\r?\n/)) {
    const line = written.trim();
    if (/^[#;]/.test(line)) continue;
    const whole: string = open === undefined ? line : `${open} ${line}`;
    if (whole.endsWith('\\')) {
      open = whole.slice(0, -1).trimEnd();
      continue;
    }
    open = undefined;
    if (whole !== '') lines.push(whole);
  }
  if (open !== undefined && open !== '') lines.push(open);
  return lines;
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  s: ' ',
  t: '\t',
  v: '\v',
};
const ESCAPE = /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|[\s\S])/g;
const LAST_CODE_POINT = 0x10ffff;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Splits a setting into words; each may be quoted as a whole or in part. */
export function splitWords(text: string): readonly string[] {
  const words = text.match(/(?:"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|\\[\s\S]|[^\s"'\\])+/g) ?? [];
  return words.map((word) =>
    word.replace(
      /"((?:\\[\s\S]|[^"\\])*)"|'((?:\\[\s\S]|[^'\\])*)'/g,
      (_, double: string, single: string) => double ?? single,
    ),
  );
}

/** Parses assignments such as `Environment="NAME=a value" OTHER=value`. */
export function parseAssignments(text: string): readonly (readonly [string, string])[] {
  return splitWords(text).flatMap((word) => {
    const at = word.indexOf('=');
    const name = word.slice(0, Math.max(at, 0));
    return VARIABLE.test(name) ? [[name, unescaped(word.slice(at + 1))] as const] : [];
  });
}

function unescaped(text: string): string {
  return text.replace(ESCAPE, (whole, code: string) => {
    if (/^[xuU]/.test(code)) {
      const point = Number.parseInt(code.slice(1), 16);
      return point > LAST_CODE_POINT ? whole : String.fromCodePoint(point);
    }
    if (/^[0-7]{3}$/.test(code)) return String.fromCodePoint(Number.parseInt(code, 8));
    return ESCAPES[code] ?? code;
  });
}

/** Parses a file of `EnvironmentFile=`: almost shell syntax, without `export` and without expansion. */
export function parseEnvironmentFile(text: string): readonly (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  // Quotes may span lines, so the file is read as a whole.
  const assignment = /([^\n=]*)=((?:"(?:\\[\s\S]|[^"\\])*"|'[^']*'|\\[\s\S]|[^\n"'\\])*)(?:\n|$)/y;
  const other = /[^\n]*(?:\n|$)/y;
  const body = text.replaceAll('\r\n', '\n');
  for (let at = 0; at < body.length; ) {
    const isComment = /^[ \t]*[#;]/.test(body.slice(at, at + 200));
    assignment.lastIndex = at;
    const found = isComment ? null : assignment.exec(body);
    const [whole, name = '', value = ''] = found ?? [];
    if (whole !== undefined && VARIABLE.test(name.trim())) pairs.push([name.trim(), unquoted(value)]);
    other.lastIndex = at;
    at += Math.max(1, (whole ?? other.exec(body)?.[0] ?? '').length);
  }
  return pairs;
}

function unquoted(text: string): string {
  const parts = text.trim().match(/"(?:\\[\s\S]|[^"\\])*"|'[^']*'|\\[\s\S]|[^"'\\]+/g) ?? [];
  return parts
    .map((part) => {
      if (part.startsWith("'")) return part.slice(1, -1);
      // In double quotes a backslash escapes the characters that a shell would expand, and joins lines; before others
      // it stays.
      if (part.startsWith('"'))
        return part.slice(1, -1).replace(/\\(["\\`$\n])/g, (_, c: string) => (c === '\n' ? '' : c));
      return part.startsWith('\\') ? part.slice(1).replace('\n', '') : part;
    })
    .join('');
}
