/** Steps of a physical backup, in any series of mariadb-backup. */
import { join } from 'node:path';
import { PATH, type ScratchServer, TEST_CREDENTIALS, watched } from '../../harness/scratch-server.ts';
import { run } from './lab.ts';

export interface BackupTool {
  /** Command and first arguments. */
  readonly command?: readonly [string, ...string[]];
  readonly cwd?: string;
}

/** Returns everything that it printed. Rejects, with the same in `stdout` and `stderr`, when it fails. */
export async function mariadbBackup(args: readonly string[], { command, cwd }: BackupTool = {}): Promise<string> {
  const [program = '', ...first] = command ?? [...watched('BACKUP'), 'mariadb-backup'];
  const user = process.getuid?.() === 0 ? ['--user=root'] : [];
  const { stdout, stderr } = await run(program, [...first, ...args, ...user], {
    env: { PATH, ...TEST_CREDENTIALS },
    maxBuffer: 64 * 1024 * 1024,
    ...(cwd === undefined ? {} : { cwd }),
  });
  return stdout + stderr;
}

export async function backUp(
  server: ScratchServer,
  target: string,
  tool?: BackupTool,
  ...more: readonly string[]
): Promise<string> {
  const from = [`--datadir=${server.datadir}`, `--socket=${server.socket}`];
  return await mariadbBackup(['--no-defaults', '--backup', `--target-dir=${target}`, ...from, ...more], tool);
}

export async function prepare(target: string, tool?: BackupTool, ...more: readonly string[]): Promise<string> {
  const options = `--defaults-file=${join(target, 'backup-my.cnf')}`;
  return await mariadbBackup([options, '--prepare', `--target-dir=${target}`, ...more], tool);
}
