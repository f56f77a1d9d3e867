import { styleText } from 'node:util';
import type { CheckId, Finding, Status } from '../finding.ts';
import { printable, printableJson } from '../printable.ts';

/** Findings that need action come first. */
const ORDER: readonly Status[] = ['failure', 'warning', 'ok', 'skipped'];
const COLOURS = { failure: 'red', warning: 'yellow', ok: 'green', skipped: 'gray' } as const;
const PLURALS: Readonly<Record<Status, string>> = {
  failure: 'failures',
  warning: 'warnings',
  ok: 'ok',
  skipped: 'skipped',
};
const WIDTH = 'failure'.length + 2;
/** Fewest columns: a narrower terminal reports a wrong width, or has no room for a word beside the status. */
const NARROWEST = 40;

/** @param columns width of the terminal; undefined: lines are not wrapped */
export function formatFindings(findings: readonly Finding[], hasColours: boolean, columns?: number): readonly string[] {
  const paint = (status: Status, text: string): string =>
    hasColours ? styleText(COLOURS[status], text, { validateStream: false }) : text;
  const lines = ORDER.flatMap((status) =>
    findings
      .filter((finding) => finding.status === status)
      .flatMap(({ check, found, fix }) => {
        const [first, ...more] = wrapped(`${check}: ${printable(found)}`, columns);
        return [
          `${paint(status, status.padEnd(WIDTH))}${first}`,
          ...more.map(indented),
          // A fix is not wrapped: commands are copied, and a terminal wraps them without a line end.
          ...(fix === undefined ? [] : fix.split('\n').map(printable).map(indented)),
        ];
      }),
  );
  return [...lines, '', summary(findings)];
}

/** The findings as JSON. The format is stable for scripts: fields may be added, never renamed. */
export function findingsJson(findings: readonly Finding[]): string {
  return printableJson(
    findings.map(({ check, status, found, fix, isGap }) => ({
      check,
      status,
      found,
      ...(fix === undefined ? {} : { fix }),
      ...(isGap === undefined ? {} : { isGap }),
    })),
    2,
  );
}

/** The status of an examination that found no failure and did not see the keys, or the identity that opens them. */
export const INCOMPLETE = 3;

/** 0: nothing stops the server; 1: something does; 3: nothing was found, and the keys or the identity were not seen. */
export function exitCode(findings: readonly Finding[]): 0 | 1 | typeof INCOMPLETE {
  if (findings.some(({ status }) => status === 'failure')) return 1;
  return unseenParts(findings).length > 0 ? INCOMPLETE : 0;
}

/** Parts of the server without which nothing can be said about its start. */
const NEEDED_PARTS = [
  ['key-directory', 'the keys'],
  ['credentials', "the agent's identity"],
] as const;

function unseenParts(findings: readonly Finding[]): readonly string[] {
  const isGap = (id: CheckId): boolean => findings.some(({ check, isGap: is }) => check === id && is === true);
  return NEEDED_PARTS.filter(([id]) => isGap(id)).map(([, part]) => part);
}

function summary(findings: readonly Finding[]): string {
  const counts = ORDER.map((status) => {
    const count = findings.filter((finding) => finding.status === status).length;
    return `${count} ${count === 1 ? status : PLURALS[status]}`;
  }).join(', ');
  const gaps = [...new Set(findings.filter(({ isGap }) => isGap === true).map(({ check }) => check))];
  const unseen = gaps.length > 0 ? `; not looked at: ${gaps.join(', ')}` : '';
  const parts = unseenParts(findings);
  if (parts.length > 0) {
    return `${counts}: INCOMPLETE: ${parts.join(' and ')} ${parts.length === 1 && parts[0] !== 'the keys' ? 'was' : 'were'} not looked at`;
  }
  return exitCode(findings) === 0 ? `${counts}: nothing found that stops the server${unseen}` : counts;
}

function indented(line: string): string {
  return ' '.repeat(WIDTH) + line;
}

/** Wraps the text between words, to the width that is left beside the status. A longer word is not split. */
function wrapped(text: string, columns: number | undefined): readonly string[] {
  if (columns === undefined || columns < NARROWEST) return [text];
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && WIDTH + last.length + 1 + word.length <= columns) lines.splice(-1, 1, `${last} ${word}`);
    else lines.push(word);
  }
  return lines;
}
