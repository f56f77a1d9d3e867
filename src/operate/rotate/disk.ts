/** Asks the audit whether the disk agrees with the server. */
import type { Audit } from '../../audit/audit.ts';
import type { FileKind } from '../../audit/file-audit.ts';
import type { Clock } from '../../clock.ts';
import type { Unseen } from '../../data/visit.ts';
import type { Retired } from './wait.ts';

export interface DiskAnswer {
  /** Files with pages in use under a version that should be gone. */
  readonly behind: readonly string[];
  readonly unseen: readonly Unseen[];
}

/** The files that encryption threads move. */
const MOVED: readonly FileKind[] = ['tablespace', 'system tablespace', 'undo tablespace'];
/** Pauses before the server has written what it moved: it flushes by itself within seconds, but at its own pace. */
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000, 60_000];

/**
 * Audits until no page in use is under the retired versions, or the pauses are used up.
 * @param audit reads the data directory, or only these files of it
 */
export async function waitForDisk(
  retired: readonly Retired[],
  audit: (files: readonly string[] | undefined) => Promise<Audit>,
  clock: Clock,
  signal: AbortSignal,
): Promise<DiskAnswer> {
  let files: readonly string[] | undefined;
  for (const pauseMs of [...PAUSES_MS, undefined]) {
    const { files: found, unseen } = await audit(files);
    const behind = found
      .filter((file) => MOVED.includes(file.kind) && isBehind(file, retired))
      .map(({ path, file }) => path ?? file);
    if (behind.length === 0 || pauseMs === undefined) return { behind, unseen };
    files = behind;
    await clock.sleep(pauseMs, signal);
  }
  return { behind: [], unseen: [] };
}

function isBehind({ keyId, versions }: Audit['files'][number], retired: readonly Retired[]): boolean {
  return versions.some(
    ({ version, used }) => used > 0 && retired.some((each) => each.keyId === keyId && version <= each.version),
  );
}
