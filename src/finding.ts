/** Every check, in the order in which they run and in which `--json` lists them. Names are never changed. */
export const CHECKS = [
  'option-files',
  'plugin-library',
  'agent',
  'server-version',
  'server-options',
  'activation',
  'key-directory',
  'key-files',
  'data',
  'service',
  'sql-files',
  'credentials',
  'clock',
  'endpoint',
  'master-key',
  'replicas',
  'last-use',
  'permissions',
  'surplus-permissions',
  'unwrap',
  'confinement',
  'encryption-settings',
  'backup',
  'start-timeout',
] as const;
export type CheckId = (typeof CHECKS)[number];

/** `failure`: the server would not start, or would lack its keys. `warning`: it would work, but needs attention. */
export type Status = 'ok' | 'warning' | 'failure' | 'skipped';

export interface Report {
  readonly status: Status;
  /** The result in words; never a secret. */
  readonly found: string;
  /** The command or policy that corrects it, or that shows more. */
  readonly fix?: string;
  /** True: a possible obstacle to the server was not examined. */
  readonly isGap?: true;
}

export interface Finding extends Report {
  readonly check: CheckId;
}

export function ok(found: string, fix?: string): Report {
  return { status: 'ok', found, ...(fix ? { fix } : {}) };
}

export function warning(found: string, fix?: string): Report {
  return { status: 'warning', found, ...(fix ? { fix } : {}) };
}

export function failure(found: string, fix?: string): Report {
  return { status: 'failure', found, ...(fix ? { fix } : {}) };
}

export function skipped(found: string): Report {
  return { status: 'skipped', found };
}

/** Reports a skipped check that leaves a possible obstacle unexamined. */
export function unlooked(found: string): Report {
  return { status: 'skipped', found, isGap: true };
}
