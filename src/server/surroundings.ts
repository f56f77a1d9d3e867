import { dirname, join } from 'node:path';
import type { Clock, Random } from '../clock.ts';
import type { DataFiles } from '../data/data-files.ts';
import type { Disk, FileSystem } from '../disk/file-system.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import type { ConnectServer } from '../sql/server.ts';

/** Everything outside the program that the doctor uses, passed in for tests. */
export interface Surroundings {
  /** Version of this program. */
  readonly release: string;
  /** Node's name of the architecture: `x64`, `arm64`. */
  readonly architecture: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly run: RunCommand;
  readonly paths: SystemPaths;
  readonly environment: NodeJS.ProcessEnv;
  /** The user id of the current process. */
  readonly uid: number;
  readonly connectKms: (target: KmsTarget) => Promise<KmsInspector>;
  readonly connectServer: ConnectServer;
}

export function diskOf({ files, clock, random }: Surroundings): Disk {
  return { fileSystem: files.keyDirectory, clock, random };
}

/** The calls of node:fs/promises that checks need, besides those of a key directory. */
export interface Files {
  readonly keyDirectory: FileSystem;
  readonly data: DataFiles;
  stat(path: string): Promise<FileFacts>;
  readFile(path: string): Promise<Buffer>;
  realpath(path: string): Promise<string>;
  statfs(path: string): Promise<SpaceFacts>;
}

export interface FileFacts {
  readonly dev: number;
  readonly ino: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly size: number;
  isFile(): boolean;
  isDirectory(): boolean;
  isSocket(): boolean;
}

/** A system user and its groups, for permission checks. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The name of that group, or its number where it has none. */
  readonly group: string;
  readonly groups: readonly number[];
  readonly home: string;
}

export interface SpaceFacts {
  readonly bsize: number;
  /** Free blocks for users other than root. */
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

export interface CommandResult {
  /** Exit status; -1 when a signal ended the program. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program. Returns undefined when there is no such program. */
export type RunCommand = (
  program: string,
  commandArguments: readonly string[],
  signal: AbortSignal,
  /** Runs the program as this user, in its home, and with nothing of root's own environment. */
  as?: Pick<Account, 'uid' | 'gid' | 'home'>,
) => Promise<CommandResult | undefined>;

export interface SystemPaths {
  readonly passwd: string;
  readonly group: string;
  /** SELinux's file system. */
  readonly selinux: string;
  /** AppArmor's list of loaded profiles, and the directory of their texts. */
  readonly apparmorProfiles: string;
  readonly apparmorDirectory: string;
  /** Rules that the packages bring. */
  readonly apparmorShipped: string;
  /** The program as packages install it, behind the link in the plugin directory. */
  readonly program: string;
  /** The directory of processes. */
  readonly proc: string;
  /** The log of what commands change. */
  readonly auditLog: string;
  /** systemd's search path for units, the most important directory first: systemd.unit(5). */
  readonly units: readonly string[];
  /** A directory that exists where systemd runs: sd_booted(3). */
  readonly systemd: string;
  /** Debian's script that starts the server where no systemd runs, and the shell file that it reads before. */
  readonly initScript: string;
  readonly initDefaults: string;
}

export const SYSTEM_PATHS: SystemPaths = {
  passwd: '/etc/passwd',
  group: '/etc/group',
  selinux: '/sys/fs/selinux',
  apparmorProfiles: '/sys/kernel/security/apparmor/profiles',
  apparmorDirectory: '/etc/apparmor.d',
  apparmorShipped: '/usr/share/mariadb-aws-kms/apparmor',
  program: '/usr/bin/mariadb-aws-kms',
  proc: '/proc',
  auditLog: '/var/log/mariadb-aws-kms/audit.log',
  units: [
    '/etc/systemd/system.control',
    '/run/systemd/system.control',
    '/run/systemd/transient',
    '/run/systemd/generator.early',
    '/etc/systemd/system',
    '/run/systemd/system',
    '/run/systemd/generator',
    '/usr/local/lib/systemd/system',
    '/usr/lib/systemd/system',
    '/lib/systemd/system',
    '/run/systemd/generator.late',
  ],
  systemd: '/run/systemd/system',
  initScript: '/etc/init.d/mariadb',
  initDefaults: '/etc/default/mariadb',
};

/** @param program the executable as it is installed: `PREFIX/bin/mariadb-aws-kms` */
export function pathsOfInstalled(program: string): SystemPaths {
  const apparmorShipped = join(dirname(dirname(program)), 'share/mariadb-aws-kms/apparmor');
  return { ...SYSTEM_PATHS, program, apparmorShipped };
}

export interface KmsTarget {
  readonly region: string;
  readonly endpointUrl: string;
  readonly stsEndpointUrl: string;
  readonly timeoutMs: number;
  readonly sharedFiles: { readonly credentials: string; readonly config: string } | undefined;
  /**
   * The user whose AWS files and programs give the identity, when root examines another user's server. Undefined: those
   * of the current user.
   */
  readonly as: Pick<Account, 'name' | 'uid' | 'gid' | 'home'> | undefined;
}
