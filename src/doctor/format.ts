import { styleText } from 'node:util';
import type { Finding, Status } from './finding.ts';

/** What needs somebody comes first. */
const ORDER: readonly Status[] = ['failure', 'warning', 'ok', 'skipped'];
const COLOURS = { failure: 'red', warning: 'yellow', ok: 'green', skipped: 'gray' } as const;
const PLURALS: Readonly<Record<Status, string>> = {
  failure: 'failures',
  warning: 'warnings',
  ok: 'ok',
  skipped: 'skipped',
};
const WIDTH = 'failure'.length + 2;

export function formatFindings(findings: readonly Finding[], hasColours: boolean): readonly string[] {
  const paint = (status: Status, text: string): string =>
    hasColours ? styleText(COLOURS[status], text, { validateStream: false }) : text;
  const lines = ORDER.flatMap((status) =>
    findings
      .filter((finding) => finding.status === status)
      .flatMap(({ check, found, fix }) => [
        `${paint(status, status.padEnd(WIDTH))}${check}: ${oneLine(found)}`,
        ...(fix === undefined ? [] : fix.split('\n').map((line) => `${' '.repeat(WIDTH)}${line}`)),
      ]),
  );
  return [...lines, '', summary(findings)];
}

/** A promise to scripts: fields may be added, never renamed. */
export function findingsJson(findings: readonly Finding[]): string {
  return JSON.stringify(
    findings.map(({ check, status, found, fix }) => ({ check, status, found, ...(fix === undefined ? {} : { fix }) })),
    null,
    2,
  );
}

export function exitCode(findings: readonly Finding[]): 0 | 1 {
  return findings.some(({ status }) => status === 'failure') ? 1 : 0;
}

function summary(findings: readonly Finding[]): string {
  const counts = ORDER.map((status) => {
    const count = findings.filter((finding) => finding.status === status).length;
    return `${count} ${count === 1 ? status : PLURALS[status]}`;
  }).join(', ');
  return exitCode(findings) === 0 ? `${counts}: nothing found that stops the server` : counts;
}

function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}
