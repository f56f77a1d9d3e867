import type { Clock, Random } from '../clock.ts';
import type { DataFiles } from '../data/data-files.ts';
import type { Disk, FileSystem } from '../disk/file-system.ts';
import type { KmsInspector } from '../kms/inspect.ts';

/** Everything outside the program that the doctor looks at, passed in so that tests can be it. */
export interface Surroundings {
  /** Of this program. */
  readonly release: string;
  /** As Node.js names it: `x64`, `arm64`. */
  readonly architecture: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly run: RunCommand;
  readonly paths: SystemPaths;
  readonly environment: NodeJS.ProcessEnv;
  /** Who runs the doctor. */
  readonly uid: number;
  readonly connectKms: (target: KmsTarget) => Promise<KmsInspector>;
}

export function diskOf({ files, clock, random }: Surroundings): Disk {
  return { fileSystem: files.keyDirectory, clock, random };
}

/** The calls of node:fs/promises that checks need, beside those of a key directory. */
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

/** A user of this machine, as far as permissions go. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly home: string;
}

export interface SpaceFacts {
  readonly bsize: number;
  /** Blocks that users other than root may fill. */
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

export interface CommandResult {
  /** -1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Undefined when there is no such program. */
export type RunCommand = (
  program: string,
  commandArguments: readonly string[],
  signal: AbortSignal,
  /** Root runs it as this user, in whose home, and with nothing of root's own environment. */
  as?: Pick<Account, 'uid' | 'gid' | 'home'>,
) => Promise<CommandResult | undefined>;

export interface SystemPaths {
  readonly passwd: string;
  readonly group: string;
  /** SELinux: its file system. */
  readonly selinux: string;
  /** AppArmor: the list of loaded profiles, and the directory of their texts. */
  readonly apparmorProfiles: string;
  readonly apparmorDirectory: string;
  /** Of processes. */
  readonly proc: string;
  /** Where systemd looks for units, the most important first: systemd.unit(5). */
  readonly units: readonly string[];
}

export const SYSTEM_PATHS: SystemPaths = {
  passwd: '/etc/passwd',
  group: '/etc/group',
  selinux: '/sys/fs/selinux',
  apparmorProfiles: '/sys/kernel/security/apparmor/profiles',
  apparmorDirectory: '/etc/apparmor.d',
  proc: '/proc',
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
};

export interface KmsTarget {
  readonly region: string;
  readonly endpointUrl: string;
  readonly stsEndpointUrl: string;
  readonly timeoutMs: number;
  readonly sharedFiles: { readonly credentials: string; readonly config: string } | undefined;
  /** Whose files and programs say who we are: root asks in their place. Undefined: those of whoever runs this. */
  readonly as: Pick<Account, 'name' | 'uid' | 'gid' | 'home'> | undefined;
}
