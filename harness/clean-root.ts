/** Clean Debian roots with the distribution's own MariaDB server, and sessions in throw-away copies of them. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianArchives } from './debian-archive.ts';
import { RootSession } from './root-session.ts';
import { removeLeftovers, withScratchDirectory } from './scratch-directory.ts';
import { BUILD } from './scratch-server.ts';

const run = promisify(execFile);

export type Codename = 'bookworm' | 'trixie' | 'sid';

const ROOTS = join(BUILD, 'roots');
/** Packages that an installed Debian has and debootstrap's smallest variant lacks. */
const BASE = ['init', 'procps', 'iproute2', 'ca-certificates'];
const SERVER = ['mariadb-server', 'mariadb-backup'];
/** Sid's server brings a profile for AppArmor. */
const MORE: Readonly<Record<Codename, readonly string[]>> = { bookworm: [], trixie: [], sid: ['apparmor'] };

/** A root has it while it is made: no service is started. It is Debian Policy's way to say so. */
const POLICY = 'usr/sbin/policy-rc.d';
const HOSTS = '127.0.0.1 localhost debian\n::1 localhost ip6-localhost ip6-loopback\n';

/**
 * Returns a root of that release in which MariaDB's server is installed and was never started. It is made once, in
 * build/roots, with the network.
 * @throws Error when a package cannot be had, or for users other than root
 */
export async function cleanRoot(codename: Codename): Promise<string> {
  const root = join(ROOTS, codename);
  mkdirSync(ROOTS, { recursive: true });
  removeLeftovers(ROOTS);
  if (existsSync(root)) return root;
  const fresh = join(ROOTS, `${codename}.${process.pid}`);
  mkdirSync(fresh, { mode: 0o755 });
  try {
    const archives = await debianArchives();
    await debootstrap(codename, fresh, archives[0]);
    writeFileSync(join(fresh, 'etc/apt/sources.list'), archives.map((uri) => `deb ${uri} ${codename} main\n`).join(''));
    writeFileSync(join(fresh, 'etc/hosts'), HOSTS);
    writeFileSync(join(fresh, POLICY), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    await inRoot(
      fresh,
      `apt-get -q update && apt-get -q -y install ${[...SERVER, ...MORE[codename]].join(' ')} && apt-get clean`,
    );
    rmSync(join(fresh, POLICY));
    renameSync(fresh, root);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return root;
}

/**
 * Opens a session in a throw-away copy of the root, with loopback as its only network. The copy and all its processes
 * are gone afterwards, also when the action throws and when this process is interrupted.
 * @param systemd the root's own systemd runs in it, with the services that are enabled
 */
export async function withSession<T>(
  codename: Codename,
  systemd: boolean,
  action: (session: RootSession) => Promise<T>,
): Promise<T> {
  const root = await cleanRoot(codename);
  return await withScratchDirectory(
    `session.${process.pid}.`,
    async (copy) => {
      const session = await RootSession.open({ root, copy, systemd });
      try {
        return await action(session);
      } finally {
        await session.close();
      }
    },
    ROOTS,
  );
}

/**
 * Downloads into the root's cache of apt what these packages depend on and the root lacks: apt in a session, which has no
 * network, takes it from there.
 * @param packages paths of .deb files
 * @param names packages of the release
 */
export async function downloadDependencies(
  codename: Codename,
  packages: readonly string[],
  names: readonly string[],
): Promise<void> {
  const root = await cleanRoot(codename);
  const depends = await Promise.all(
    packages.map(async (file) => (await run('dpkg-deb', ['--field', file, 'Depends'])).stdout.trim()),
  );
  await inRoot(
    root,
    `apt-get -q -y --download-only satisfy ${[...depends, ...names].map((list) => `'${list}'`).join(' ')}`,
  );
}

async function inRoot(root: string, script: string): Promise<void> {
  const session = await RootSession.open({ root });
  try {
    await session.run(script);
  } finally {
    await session.close();
  }
}

async function debootstrap(codename: Codename, directory: string, archive: string): Promise<void> {
  const { stdout } = await run('apt-config', ['shell', 'http_proxy', 'Acquire::http::Proxy']);
  const proxy = /^http_proxy='(.*)'$/m.exec(stdout)?.[1];
  await run('debootstrap', ['--variant=minbase', `--include=${BASE.join(',')}`, codename, directory, archive], {
    env: { ...process.env, ...(proxy === undefined ? {} : { http_proxy: proxy }) },
    maxBuffer: 16 * 1024 * 1024,
  });
}
