import type { Account, FileFacts, Surroundings } from './surroundings.ts';

export const READ = 4;
export const WRITE = 2;
export const ENTER = 1;

/** Finds a system user by name or id. Returns undefined when the machine has no such user. A number is a user id. */
export async function findAccount(
  user: string | number,
  surroundings: Pick<Surroundings, 'files' | 'paths'>,
): Promise<Account | undefined> {
  const { files, paths } = surroundings;
  const lines = (await textOf(files.readFile(paths.passwd))).split('\n').map((line) => line.split(':'));
  const entry = lines.find(([name, , uid]) => name === user || (uid !== undefined && uid === String(user)));
  const [name, , uid, gid, , home] = entry ?? [];
  if (name === undefined || uid === undefined || gid === undefined || home === undefined) return undefined;
  const groups = await groupLines(surroundings);
  const memberOf = groups.filter(([, , , members]) => members?.split(',').includes(name)).map(([, , id]) => Number(id));
  const group = groups.find(([, , id]) => id === gid)?.[0] ?? gid;
  return { name, uid: Number(uid), gid: Number(gid), group, groups: [Number(gid), ...memberOf], home };
}

/** Returns the id of a group; undefined: the machine has no such group. */
export async function findGroup(group: string, surroundings: Surroundings): Promise<number | undefined> {
  const line = (await groupLines(surroundings)).find(([name]) => name === group);
  return line?.[2] === undefined ? undefined : Number(line[2]);
}

async function groupLines({
  files,
  paths,
}: Pick<Surroundings, 'files' | 'paths'>): Promise<readonly (readonly string[])[]> {
  return (await textOf(files.readFile(paths.group))).split('\n').map((line) => line.split(':'));
}

/**
 * Tells whether owner, group and mode permit the access. Access control lists, mount options and SELinux are ignored.
 */
export function may(account: Account, file: FileFacts, wish: number): boolean {
  if (account.uid === 0) return wish !== ENTER || file.isDirectory() || (file.mode & 0o111) !== 0;
  const shift = { u: 6, g: 3, o: 0 }[classOf(account, file)];
  return ((file.mode >> shift) & wish) === wish;
}

/** Returns the class of permission bits that applies to an account, by chmod's letters. */
export function classOf(account: Account, file: FileFacts): 'u' | 'g' | 'o' {
  if (file.uid === account.uid) return 'u';
  return account.groups.includes(file.gid) ? 'g' : 'o';
}

/** `mode 0750, owner 999:999` */
export function describeMode({ mode, uid, gid }: FileFacts): string {
  return `mode 0${(mode & 0o7777).toString(8).padStart(3, '0')}, owner ${uid}:${gid}`;
}

/** Puts names of users and groups into what `describeMode` returned, where this machine knows them. */
export async function withOwnerNames(text: string, { files, paths }: Surroundings): Promise<string> {
  const owner = /\bowner (\d+):(\d+)/g;
  if (!owner.test(text)) return text;
  const [users, groups] = await Promise.all(
    [paths.passwd, paths.group].map(async (path) => await textOf(files.readFile(path))),
  );
  const nameOf = (list: string | undefined, id: string): string =>
    list
      ?.split('\n')
      .map((line) => line.split(':'))
      .find(([, , each]) => each === id)?.[0] || id;
  return text.replace(owner, (_, uid: string, gid: string) => `owner ${nameOf(users, uid)}:${nameOf(groups, gid)}`);
}

async function textOf(file: Promise<Buffer>): Promise<string> {
  return await file.then(
    (bytes) => bytes.toString('utf8'),
    () => '',
  );
}
