/** The lists of the report: what is in clear, what was not read, and every file. */
import type { Unseen } from '../../data/visit.ts';
import { counted, size } from '../amounts.ts';
import type { FileAudit } from '../file-audit.ts';
import type { AuditReport } from '../report.ts';
import type { Conflict } from '../settings.ts';
import { sharesOf } from '../shares.ts';
import { type Markup, markup } from './markup.ts';
import { type Column, dataTable } from './table.ts';

/** A longer list of all files is folded. */
const MOST_OPEN = 200;

const ASKED: Readonly<Record<NonNullable<FileAudit['asked']>, string>> = {
  default: 'as the server says',
  yes: 'ENCRYPTED=YES',
  no: 'ENCRYPTED=NO',
};
const STATES: Readonly<Record<FileAudit['state'], string>> = {
  encrypted: 'encrypted',
  partly: 'partly encrypted',
  clear: 'in clear',
  empty: 'without data',
};

export function inClear({ files, conflicts, remarks }: AuditReport): Markup {
  const clear = files
    .filter(({ state }) => state === 'clear' || state === 'partly')
    .sort((a, b) => sharesOf(b).clear - sharesOf(a).clear);
  const columns: readonly Column<FileAudit>[] = [
    { head: 'File', cell: ({ file }) => file },
    { head: 'Kind', cell: ({ kind }) => kind },
    { head: 'State', cell: ({ state }) => STATES[state] },
    { head: 'The file says', cell: ({ asked }) => (asked === undefined ? '–' : ASKED[asked]) },
    { head: 'In clear', cell: (file) => size(sharesOf(file).clear), isNumber: true },
  ];
  const ofConflicts: readonly Column<Conflict>[] = [
    { head: 'File', cell: ({ file }) => file },
    { head: 'Asked for', cell: ({ asked }) => asked },
    { head: 'Found', cell: ({ isEncrypted }) => (isEncrypted ? 'encrypted' : 'in clear, or partly') },
  ];
  return markup`<h2>What is in clear</h2>
${remarks.length > 0 ? markup`<ul>${remarks.map((remark) => markup`<li>${remark}</li>`)}</ul>` : ''}
${clear.length === 0 ? markup`<p>No file that was read holds data in clear.</p>` : dataTable('Files in clear, and partly encrypted ones', columns, clear)}
${conflicts.length === 0 ? '' : dataTable('Files that are not as settings or definitions of tables ask for', ofConflicts, conflicts)}`;
}

export function notRead({ files, unseen }: AuditReport): Markup {
  const columns: readonly Column<Unseen>[] = [
    { head: 'Path', cell: ({ path }) => path },
    { head: 'Reason', cell: ({ reason }) => reason },
  ];
  const all = files.length > 0 ? 'Every file that was found was read, and every page of it.' : 'Nothing was found.';
  return markup`<h2>What could not be read</h2>
${
  unseen.length === 0
    ? markup`<p>${all}</p>`
    : markup`<p>Each may need any key version, and may be in clear.</p>
${dataTable('Files, directories and pages that could not be read', columns, unseen)}`
}`;
}

export function notLookedAt({ notLookedAt: elsewhere }: AuditReport): Markup {
  return markup`<h2>What was not looked at</h2>
<ul>
<li>Other data: ${elsewhere.join(', ')}. It may need key versions that nothing here needs.</li>
<li>The keys themselves: whether KMS still unwraps each stored version.</li>
<li>The content of pages: no key was used, so that nothing was decrypted. A page counts as encrypted if its header names a key version.</li>
<li>Files that the server never encrypts: the error log, the general and slow logs, and tables of other storage engines.</li>
</ul>`;
}

export function allFiles(files: readonly FileAudit[]): Markup {
  const columns: readonly Column<FileAudit>[] = [
    { head: 'File', cell: ({ file }) => file },
    { head: 'Kind', cell: ({ kind }) => kind },
    { head: 'State', cell: ({ state }) => STATES[state] },
    { head: 'Key', cell: ({ keyId }) => (keyId === undefined ? '–' : `${keyId}`), isNumber: true },
    { head: 'Versions, pages in use + free', cell: versionsText },
    {
      head: 'Pages in clear',
      cell: ({ pages }) => (pages === undefined ? '–' : `${pages.clear.used}`),
      isNumber: true,
    },
    { head: 'Size', cell: ({ bytes }) => size(bytes), isNumber: true },
  ];
  return markup`<h2>All files</h2>
<details${files.length > MOST_OPEN ? '' : markup` open`}><summary>${counted(files.length, 'file')}</summary>
${dataTable('Every file that was read', columns, files)}
</details>`;
}

function versionsText({ versions, pages }: FileAudit): string {
  const named = versions.map(({ version, used, free }) =>
    pages === undefined ? `${version}` : `${version}: ${used} + ${free}`,
  );
  const unnamed = pages === undefined || pages.unnamed === 0 ? [] : [`not named: ${pages.unnamed}`];
  return [...named, ...unnamed].join('; ') || '–';
}
