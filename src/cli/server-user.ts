import { userInfo } from 'node:os';
import { KeyError } from '../errors.ts';

/** The search path of programs that run with another user's rights. */
export const SAFE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The members of `process` that are needed; the setters exist on POSIX only. */
export interface ProcessUser {
  readonly env: NodeJS.ProcessEnv;
  setgroups?(groups: readonly (string | number)[]): void;
  setgid?(id: number | string): void;
  setuid?(id: number | string): void;
  seteuid?(id: number | string): void;
  initgroups?(user: number | string, extraGroup: number | string): void;
}

/** The variable in which the plugin passes user and group of the server, from a mariadb-backup that root runs. */
const BECOME = 'AKM_BECOME';

/** Returns the user that `becomeServerUser` is about to become; undefined: none. @throws KeyError BAD_OPTION */
export function serverUserOf(
  environment: NodeJS.ProcessEnv,
): { readonly uid: number; readonly gid: number } | undefined {
  const ids = environment[BECOME];
  if (ids === undefined) return undefined;
  const [, uid, gid] = /^(\d{1,10}):(\d{1,10})$/.exec(ids) ?? [];
  if (uid === undefined || gid === undefined) {
    throw new KeyError('BAD_OPTION', `${BECOME}: expected user and group id, got "${ids}"`);
  }
  return { uid: Number(uid), gid: Number(gid) };
}

/**
 * Gives up root's rights for good. The agent then reads the server user's AWS configuration, which may name commands
 * (credential_process): those must not run as root.
 * @throws KeyError BAD_OPTION, and the system's errors
 */
export function becomeServerUser(process: ProcessUser): void {
  const user = serverUserOf(process.env);
  if (user === undefined) return;
  delete process.env[BECOME];
  if (!process.setgroups || !process.setgid || !process.setuid) {
    throw new KeyError('BAD_OPTION', `${BECOME}: this system has no users`);
  }
  process.setgroups([]);
  process.setgid(user.gid);
  process.setuid(user.uid);
}

/** The group for a user without an entry in the system's list whose directory is in root's group. */
export const NOGROUP = 65_534;

/**
 * Gives up root's rights for good and takes those of a user, with the groups that the system lists for them, or with
 * the directory's group if it lists none.
 * @param groupOf looks up the user's group; called with the user as effective user
 * @throws KeyError BAD_OPTION, and the system's errors
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
