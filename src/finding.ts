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

/** `failure`: the server would not start, or would not have its keys. `warning`: it would, and somebody should look. */
export type Status = 'ok' | 'warning' | 'failure' | 'skipped';

export interface Report {
  readonly status: Status;
  /** What was found; never a secret. */
  readonly found: string;
  /** The command or policy that puts it right, or that shows more. */
  readonly fix?: string;
  /** Something that could stop the server was not looked at. */
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

/** Skipped, and something there could stop the server. */
export function unlooked(found: string): Report {
  return { status: 'skipped', found, isGap: true };
}
