/** The comment rule: a comment names its subject first. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDERS = ['src', 'plugin', 'harness', 'campaigns', 'scripts', 'bench', 'test'];
const SOURCE = /\.(?:ts|c|h)$/;
/** Words that make the reader wait for the subject. */
const BAD_OPENING = /^(?:What|Who|Whom|Whose|Where|Of)\b/;
/** A comment that begins a line, or follows code without quotes on it. */
const COMMENT = /^(?:[^'"`]*[;,{}()] )?\s*(\/\/|\/\*+)\s*(.*)$/;

/** Returns the comments in `root` that begin with a bad opening, a line each. */
export function commentRuleViolations(root: string): string[] {
  return FOLDERS.filter((folder) => existsSync(join(root, folder))).flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => SOURCE.test(file))
      .sort()
      .flatMap((file) => violationsIn(join(folder, file), readFileSync(join(root, folder, file), 'utf8'))),
  );
}

function violationsIn(path: string, text: string): readonly string[] {
  const lines = text.split('\n');
  return lines.flatMap((_, index) => {
    const opening = openingOf(lines, index);
    if (!BAD_OPENING.test(opening)) return [];
    return [`${path}:${index + 1}: a comment begins with "${opening.split(' ')[0]}": name its subject first`];
  });
}

/** The first words of the comment that begins in that line; empty: none begins there. */
function openingOf(lines: readonly string[], index: number): string {
  const [, mark, words] = COMMENT.exec(lines[index] ?? '') ?? [];
  if (mark === undefined || words === undefined) return '';
  if (mark === '//') return isLineComment(lines[index]) && isLineComment(lines[index - 1]) ? '' : words;
  return words === '' ? (lines[index + 1] ?? '').replace(/^[\s*]+/, '') : words;
}

function isLineComment(line: string | undefined): boolean {
  return line?.trimStart().startsWith('//') === true;
}
