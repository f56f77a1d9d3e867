/** Sentences about files that are not as one would expect, and about why files are in clear. */
import { isInnodbBinaryLogName } from '../format/innodb/binary-log.ts';
import { printable } from '../printable.ts';
import { counted } from './amounts.ts';
import type { FileAudit } from './file-audit.ts';
import { isNeeded, type KeyVersionNeeds } from './needs.ts';
import { type Conflict, hasRowsOutsidePages, isSpatialOnly } from './settings.ts';

/** Names to print in one sentence. */
const NAMED = 2;

/** Contradictions come first. */
export function remarksOf(
  files: readonly FileAudit[],
  conflicts: readonly Conflict[],
  needs: readonly KeyVersionNeeds[],
  keyDirectory: string | undefined,
): readonly string[] {
  const missing = needs
    .filter((key) => key.isStored === false && isNeeded(key))
    .map((key) => `${key.id}.${key.version}`);
  const groups = new Map<string, string[]>();
  for (const { file, asked, isEncrypted } of conflicts) {
    const text = `${asked}, and ${isEncrypted ? 'encrypted' : 'in clear or partly so'}`;
    groups.set(text, [...(groups.get(text) ?? []), file]);
  }
  const inClear = files.filter(({ state }) => state === 'clear' || state === 'partly');
  const ofFiles = (those: readonly FileAudit[]): readonly string[] => those.map(({ file }) => file);
  return [
    ...(missing.length === 0
      ? []
      : [`no key file in ${printable(keyDirectory ?? '')}: ${some(missing, 'key version')}`]),
    ...[...groups].map(([text, names]) => `${text}: ${some(names, 'file')}`),
    ...remark(
      'the recovery of a start may need what is needed to read',
      ofFiles(files.filter(({ kind, needsRecovery }) => kind === 'redo log' && needsRecovery === true)),
    ),
    ...remark('ENCRYPTED=NO, and so in clear', ofFiles(inClear.filter(({ asked }) => asked === 'no'))),
    ...remark('Aria encrypts no ROW_FORMAT=FIXED or DYNAMIC', ofFiles(inClear.filter(hasRowsOutsidePages))),
    ...remark(
      "rows also in Aria's log (aria_log.*), which no server encrypts",
      ofFiles(files.filter(({ kind, state }) => kind === 'Aria table' && state !== 'clear' && state !== 'empty')),
    ),
    ...remark('no server encrypts the binary log that InnoDB writes', ofFiles(inClear.filter(isInnodbLog))),
    ...remark('SPATIAL indexes stay in clear with older checksums', ofFiles(inClear.filter(isSpatialOnly))),
    ...freeInClear(files),
  ];
}

function isInnodbLog({ file, kind }: FileAudit): boolean {
  return kind === 'binary log' && isInnodbBinaryLogName(file.replace(/^.*\//s, ''));
}

/** Free pages of encrypted files may hold rows from before the encryption. */
function freeInClear(files: readonly FileAudit[]): readonly string[] {
  const those = files.filter(({ state, pages }) => state === 'encrypted' && (pages?.clear.free ?? 0) > 0);
  const pages = those.reduce((sum, file) => sum + (file.pages?.clear.free ?? 0), 0);
  return remark(
    `${counted(pages, 'free page')} in clear, which may hold old rows, in encrypted files`,
    those.map(({ file }) => file),
  );
}

function remark(text: string, files: readonly string[]): readonly string[] {
  return files.length === 0 ? [] : [`${text}: ${some(files, 'file')}`];
}

function some(names: readonly string[], one: string): string {
  const shown = names.slice(0, NAMED).map(printable).join(', ');
  return names.length <= NAMED ? shown : `${shown} and ${counted(names.length - NAMED, `more ${one}`)}`;
}
