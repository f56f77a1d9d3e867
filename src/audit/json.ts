/** The audit for scripts. The format is stable: fields may be added, never renamed. */
import { printableJson } from '../printable.ts';
import type { FileAudit, PageTotals } from './file-audit.ts';
import { isNeeded, type KeyVersionNeeds, NEED_CLASSES } from './needs.ts';
import { type AuditReport, isComplete } from './report.ts';

export function auditJson(report: AuditReport): string {
  const {
    where,
    paths,
    files,
    needs,
    keyDirectory,
    conflicts,
    remarks,
    requirements,
    unseen,
    notLookedAt,
    release,
    endMs,
    durationMs,
  } = report;
  return printableJson(
    {
      audited: paths[0] ?? where,
      auditedPaths: paths,
      release,
      ended: new Date(endMs).toISOString(),
      seconds: durationMs / 1000,
      ok: isComplete(report) && requirements.every(({ isMet }) => isMet),
      complete: isComplete(report),
      requirements: requirements.map(({ requirement, isMet, files: short }) => ({
        requirement,
        met: isMet,
        files: short,
      })),
      ...(keyDirectory === undefined ? {} : { keyDirectory }),
      keyVersions: needs.map(ofVersion),
      conflicts: conflicts.map(({ file, asked, isEncrypted }) => ({ file, asked, encrypted: isEncrypted })),
      remarks,
      unseen,
      notLookedAt,
      files: files.map(ofFile),
    },
    2,
  );
}

function ofFile(audit: FileAudit): object {
  const { file, kind, bytes, state, keyId, asked, versions, pages, needsRecovery } = audit;
  return {
    file,
    kind,
    bytes,
    state,
    ...(keyId === undefined ? {} : { keyId }),
    ...(asked === undefined ? {} : { asked }),
    ...(needsRecovery === undefined ? {} : { needsRecovery }),
    keyVersions: versions.map(({ version, used, free }) =>
      pages === undefined ? { version } : { version, pagesInUse: used, freePages: free },
    ),
    ...(pages === undefined ? {} : { pages: ofPages(pages) }),
  };
}

function ofPages({
  all,
  clear,
  spatial,
  unnamed,
  neverEncrypted,
  empty,
  copies,
  strangePages,
  strange,
}: PageTotals): object {
  return {
    all,
    clearInUse: clear.used,
    clearFree: clear.free,
    clearSpatial: spatial,
    encryptedUnnamed: unnamed,
    neverEncrypted,
    empty,
    copies,
    strangePages,
    strange,
  };
}

function ofVersion(key: KeyVersionNeeds): object {
  const { id, version, needs, isStored } = key;
  return {
    keyId: id,
    version,
    ...(isStored === undefined ? {} : { stored: isStored }),
    isNeededHere: isNeeded(key),
    needs: Object.fromEntries(
      NEED_CLASSES.flatMap((need) => {
        const found = needs[need];
        return found === undefined ? [] : [[need, { files: found.files, pages: found.pages }]];
      }),
    ),
  };
}
