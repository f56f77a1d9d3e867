/** A server of this machine, seen from outside: backups of it, and the space that a rebuild needs. */
import { basename, join } from 'node:path';
import { KeyError, systemErrorCode } from '../../errors.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import type { SqlServer } from '../../sql/server.ts';
import { nameOfTable, type Stuck } from './plan.ts';

const PROGRAMS = ['mariadb-backup', 'mariabackup'];
/** Room beside the copy of a table, for what the server writes meanwhile. */
const MARGIN_BYTES = 64 * 2 ** 20;
const MIB = 2 ** 20;

/** Returns the process of a backup of this server; undefined: none was seen. */
export async function backupProcess(
  { files, paths }: Pick<Surroundings, 'files' | 'paths'>,
  { datadir, socket }: { readonly datadir: string; readonly socket: string },
): Promise<string | undefined> {
  const pids = await files.keyDirectory.readdir(paths.proc).catch(() => []);
  for (const pid of pids.filter((name) => /^\d+$/.test(name))) {
    const line = await files.readFile(join(paths.proc, pid, 'cmdline')).catch(() => Buffer.alloc(0));
    const [program = '', ...options] = line.toString('utf8').split('\0');
    if (!PROGRAMS.includes(basename(program)) || !options.includes('--backup')) continue;
    const isOfAnother = [
      ['datadir', datadir],
      ['socket', socket],
    ].some(([name, value]) =>
      options.some((option) => option.startsWith(`--${name}=`) && option !== `--${name}=${value}`),
    );
    if (!isOfAnother) return `process ${pid}, ${basename(program)}`;
  }
  return undefined;
}

/**
 * Returns the tables whose copy has no room in the data directory: a rebuild has one table twice at a time.
 * @throws KeyError of the server
 */
export async function tooLittleSpace(
  stuck: readonly Stuck[],
  sql: SqlServer,
  files: Pick<Surroundings['files'], 'statfs'>,
  datadir: string,
  signal: AbortSignal,
): Promise<readonly KeyError[]> {
  const rows = await sql.query('SELECT SPACE, FILE_SIZE FROM information_schema.INNODB_SYS_TABLESPACES', [], signal);
  const sizes = new Map(rows.map((row) => [Number(row['SPACE']), Number(row['FILE_SIZE'])]));
  const tables = new Map<string, number>();
  for (const { table, space } of stuck) {
    if (table === undefined) continue;
    tables.set(nameOfTable(table), (tables.get(nameOfTable(table)) ?? 0) + (sizes.get(space) ?? 0));
  }
  const free = await freeBytes(files, datadir);
  return [...tables]
    .filter(([, bytes]) => bytes + MARGIN_BYTES > free)
    .map(([name, bytes]) => {
      const found = `too little disk for --rebuild: ${name} has ${mebibytes(bytes)} and is there twice meanwhile, ${mebibytes(free)} are free in ${datadir}`;
      return new KeyError('KEY_NOT_ALLOWED', found, { hint: `make room in ${datadir}, or rotate without --rebuild` });
    });
}

async function freeBytes(files: Pick<Surroundings['files'], 'statfs'>, datadir: string): Promise<number> {
  try {
    const { bavail, bsize } = await files.statfs(datadir);
    return bavail * bsize;
  } catch (cause) {
    // A server in a container has its data elsewhere: the statement will tell.
    if (systemErrorCode(cause) !== undefined) return Number.POSITIVE_INFINITY;
    throw cause;
  }
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / MIB)} MiB`;
}
