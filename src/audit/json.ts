/** The audit for scripts. The format is stable: fields may be added, never renamed. */
import { printableJson } from '../printable.ts';
import type { Audit } from './audit.ts';
import type { FileAudit, PageTotals } from './file-audit.ts';
import { type KeyVersionNeeds, NEED_CLASSES } from './needs.ts';

/** @param needs of all key versions that are stored or used, in their order */
export function auditJson(where: string, { files, unseen }: Audit, needs: readonly KeyVersionNeeds[]): string {
  return printableJson({ audited: where, files: files.map(ofFile), keyVersions: needs.map(ofVersion), unseen }, 2);
}

function ofFile({ file, kind, bytes, state, keyId, asked, versions, pages }: FileAudit): object {
  return {
    file,
    kind,
    bytes,
    state,
    ...(keyId === undefined ? {} : { keyId }),
    ...(asked === undefined ? {} : { asked }),
    keyVersions: versions.map(({ version, used, free }) =>
      pages === undefined ? { version } : { version, pagesInUse: used, freePages: free },
    ),
    ...(pages === undefined ? {} : { pages: ofPages(pages) }),
  };
}

function ofPages({ all, clear, neverEncrypted, empty, copies, strangePages, strange }: PageTotals): object {
  return { all, clearInUse: clear.used, clearFree: clear.free, neverEncrypted, empty, copies, strangePages, strange };
}

function ofVersion({ id, version, needs }: KeyVersionNeeds): object {
  return {
    keyId: id,
    version,
    isNeededHere: NEED_CLASSES.some((need) => needs[need] !== undefined),
    needs: Object.fromEntries(
      NEED_CLASSES.flatMap((need) => {
        const found = needs[need];
        return found === undefined ? [] : [[need, { files: found.files, pages: found.pages }]];
      }),
    ),
  };
}
