import type { Audit } from './audit.ts';
import type { KeyVersionNeeds } from './needs.ts';
import type { Requirement } from './requirements.ts';
import type { Conflict } from './settings.ts';

/** An audit, and what a reader of it elsewhere has to know. */
export interface AuditReport extends Audit {
  /** The directory, or the files, that were looked at. */
  readonly where: string;
  /** Each of them. */
  readonly paths: readonly string[];
  /** Data that may need further key versions, such as `backups`. */
  readonly notLookedAt: readonly string[];
  /** All key versions that are stored or used, in their order. */
  readonly needs: readonly KeyVersionNeeds[];
  /** The directory whose key files are the stored versions; undefined where none is known. */
  readonly keyDirectory: string | undefined;
  /** Files that are not as settings or definitions of tables ask for. */
  readonly conflicts: readonly Conflict[];
  /** A sentence for each contradiction, and for each reason why files are in clear. */
  readonly remarks: readonly string[];
  readonly requirements: readonly Requirement[];
  readonly release: string;
  /** The wall clock when the audit ended, milliseconds since 1970. */
  readonly endMs: number;
  readonly durationMs: number;
}

/** True: everything that was to be looked at was read. Where nothing was found, something was not mounted. */
export function isComplete({ files, unseen }: Audit): boolean {
  return unseen.length === 0 && files.length > 0;
}
