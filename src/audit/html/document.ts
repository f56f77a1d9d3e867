/** The audit as one HTML file, to be read, printed and kept. It has no script and fetches nothing. */
import { hash } from 'node:crypto';
import { counted, size } from '../amounts.ts';
import { isNeeded } from '../needs.ts';
import { type AuditReport, isComplete } from '../report.ts';
import { allFiles, inClear, notLookedAt, notRead } from './lists.ts';
import { Markup, markup } from './markup.ts';
import { byKeyVersion, byKind, byTable } from './pictures.ts';
import { STYLE } from './style.ts';

/** The page sends no request, and no style or script works in it but this style sheet. */
const POLICY = `default-src 'none'; style-src 'sha256-${hash('sha256', STYLE, 'base64')}'; base-uri 'none'; form-action 'none'`;

export function auditHtml(report: AuditReport): string {
  const title = `Encryption audit of ${report.where}`;
  const ended = new Date(report.endMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC');
  return `${markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<svg class="defs" width="0" height="0" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-back" width="6" height="6"/><path class="hatch-line" d="M0 0V6"/></pattern></defs></svg>
<main>
<h1>${title}</h1>
<p class="soft">Made ${ended}, in ${(report.durationMs / 1000).toFixed(1)} s, by mariadb-aws-kms ${report.release}. No key was used.</p>
${summary(report)}
${byKind(report.files)}
${byKeyVersion(report.files, report.needs)}
${byTable(report.files)}
${inClear(report)}
${notRead(report)}
${notLookedAt(report)}
${allFiles(report.files)}
</main>
</body>
</html>`}
`;
}

function summary(report: AuditReport): Markup {
  const { files, unseen, needs, requirements } = report;
  const of = (...states: readonly string[]) => files.filter(({ state }) => states.includes(state));
  const bytes = (those: AuditReport['files']): string => size(those.reduce((sum, file) => sum + file.bytes, 0));
  const [encrypted, partly, clear] = [of('encrypted'), of('partly'), of('clear')];
  const needed = needs.filter(isNeeded).length;
  const tiles: readonly (readonly [string, string])[] = [
    [bytes(files), counted(files.length, 'file')],
    [bytes(encrypted), `${counted(encrypted.length, 'file')} encrypted`],
    [bytes(partly), `${counted(partly.length, 'file')} partly encrypted`],
    [bytes(clear), `${counted(clear.length, 'file')} in clear`],
    [`${unseen.length}`, 'not read'],
    [`${needed}`, needed === 1 ? 'key version needed' : 'key versions needed'],
  ];
  const isGood = isComplete(report) && clear.length + partly.length === 0 && requirements.every(({ isMet }) => isMet);
  return markup`<p class="verdict${isGood ? '' : ' warning'}">${verdict(report, clear.length, partly.length)}</p>
${requirements.length > 0 ? markup`<ul>${requirements.map(oneRequirement)}</ul>` : ''}
<ul class="tiles">${tiles.map(([number, text]) => markup`<li><b>${number}</b>${text}</li>`)}</ul>`;
}

function verdict({ files, unseen }: AuditReport, clear: number, partly: number): string {
  const short = [
    ...(clear > 0 ? [`${counted(clear, 'file')} in clear`] : []),
    ...(partly > 0 ? [`${counted(partly, 'file')} partly encrypted`] : []),
  ];
  return [
    ...(short.length > 0 ? [`Not all is encrypted: ${short.join(', ')}.`] : []),
    ...(short.length === 0 && files.length > 0 ? ['Every file with data that was read is encrypted.'] : []),
    ...(unseen.length > 0 ? [`Incomplete: ${counted(unseen.length, 'path')} could not be read.`] : []),
    ...(unseen.length === 0 && files.length === 0 ? ['Incomplete: nothing was found that a server encrypts.'] : []),
  ].join(' ');
}

function oneRequirement({ requirement, isMet, files }: AuditReport['requirements'][number]): Markup {
  return markup`<li>${requirement}: ${isMet ? 'met' : `not met by ${counted(files.length, 'file')}`}</li>`;
}
