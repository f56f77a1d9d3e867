import { userInfo } from 'node:os';
import { KeyError } from '../errors.ts';

/** What is needed of `process`; it has the setters on POSIX only. */
export interface ProcessUser {
  readonly env: NodeJS.ProcessEnv;
  setgroups?(groups: readonly (string | number)[]): void;
  setgid?(id: number | string): void;
  setuid?(id: number | string): void;
  seteuid?(id: number | string): void;
  initgroups?(user: number | string, extraGroup: number | string): void;
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

/** Of a user that the system does not know, whose directory is of root's group. */
export const NOGROUP = 65_534;

/**
 * Gives root's rights up for good, for those of a user: with the groups that the system knows them in, and with the
 * directory's where it does not know them.
 * @param groupOf theirs in the system's list of users, wherever that comes from; asked while they are the effective user
 * @throws KeyError BAD_OPTION, and what the system says when it does not allow it
 */
export function becomeUser(
  process: ProcessUser,
  { uid, gid }: { readonly uid: number; readonly gid: number },
  groupOf: () => number = () => userInfo().gid,
): void {
  const { setgroups, setgid, setuid, seteuid, initgroups } = process;
  if (!setgroups || !setgid || !setuid || !seteuid || !initgroups || uid === 0) {
    throw new KeyError('BAD_OPTION', `cannot become user ${uid}`);
  }
  seteuid(uid);
  let group: number | undefined;
  try {
    group = groupOf();
  } catch {
    group = undefined;
  }
  seteuid(0);
  if (group === undefined) setgroups([]);
  else initgroups(uid, group);
  setgid(group ?? (gid === 0 ? NOGROUP : gid));
  setuid(uid);
}
