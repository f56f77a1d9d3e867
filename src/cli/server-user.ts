import { KeyError } from '../errors.ts';

/** What is needed of `process`; it has the setters on POSIX only. */
export interface ProcessUser {
  readonly env: NodeJS.ProcessEnv;
  setgroups?(groups: readonly (string | number)[]): void;
  setgid?(id: number | string): void;
  setuid?(id: number | string): void;
}

/** Set by a plugin in a mariadb-backup that root runs: user and group of the server. */
const BECOME = 'AKM_BECOME';

/**
 * Gives root's rights up for good. The agent then reads the server user's AWS configuration, and that may name commands
 * (credential_process): whoever may write there must not run them as root.
 * @throws KeyError BAD_OPTION, and what the system says when it does not allow it
 */
export function becomeServerUser(process: ProcessUser): void {
  const ids = process.env[BECOME];
  if (ids === undefined) return;
  delete process.env[BECOME];
  const [, uid, gid] = /^(\d{1,10}):(\d{1,10})$/.exec(ids) ?? [];
  if (uid === undefined || gid === undefined || !process.setgroups || !process.setgid || !process.setuid) {
    throw new KeyError('BAD_OPTION', `${BECOME}: expected user and group id, got "${ids}"`);
  }
  process.setgroups([]);
  process.setgid(Number(gid));
  process.setuid(Number(uid));
}
