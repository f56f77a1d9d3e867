/**
 * A MariaDB of the other supported series than the installed one, from the Debian archive: it shows that one plugin
 * binary serves both. It is unpacked into `build/other-series` and runs from there; nothing is installed, and the
 * machine's own apt and dpkg state stays as it is.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianArchives } from './debian-archive.ts';
import { removeLeftovers } from './scratch-directory.ts';
import { BUILD, PATH, ScratchServer, type ScratchServerParts, type ServerOptions } from './scratch-server.ts';

const run = promisify(execFile);

interface Release {
  readonly series: string;
  /** The Debian release that has this series. */
  readonly suite: string;
}

const OLDER: Release = { series: '10.11', suite: 'bookworm' };
const NEWER: Release = { series: '11.8', suite: 'trixie' };
const PACKAGES = ['mariadb-server-core', 'mariadb-client-core', 'mariadb-backup'];
const CACHE = join(BUILD, 'other-series');
const ENVIRONMENT = { PATH, LC_ALL: 'C' };
/**
 * Milliseconds for each apt command, so that an unreachable network fails with a reason before the test's own limit.
 */
const APT_LIMIT_MS = 240_000;

export interface OtherServer {
  readonly series: string;
  readonly isNewer: boolean;
  /** The parts that make a ScratchServer one of this series. */
  readonly parts: Required<Pick<ScratchServerParts, 'mariadbd' | 'launcher'>>;
  readonly options: ServerOptions;
  /** An initialised data directory, to be copied. */
  readonly template: string;
  /** Command and first arguments that run mariadb-backup of this series. */
  readonly backup: readonly [string, ...string[]];
}

/**
 * Downloads and unpacks on the first call; later calls, also of other processes, use what is there.
 * @throws Error with the reason, such as an archive that cannot be reached
 */
export async function otherServer(): Promise<OtherServer> {
  const release = await otherRelease();
  const directory = join(CACHE, release.suite);
  if (!existsSync(directory)) await fetchServer(release, directory);
  return serverIn(directory, release);
}

async function otherRelease(): Promise<Release> {
  const { stdout } = await run('mariadbd', ['--no-defaults', '--version'], { env: ENVIRONMENT });
  return stdout.includes(`Ver ${NEWER.series}.`) ? OLDER : NEWER;
}

/** Works in a directory of its own and renames it at the end: a directory with the final name is complete. */
async function fetchServer(release: Release, directory: string): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  removeLeftovers(CACHE);
  const fresh = `${directory}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  try {
    await unpack(await download(join(fresh, 'apt'), release.suite), join(fresh, 'tree'));
    rmSync(join(fresh, 'apt'), { recursive: true });
    await initialise(fresh, release);
    moveTo(directory, fresh);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`cannot get MariaDB ${release.series} from Debian ${release.suite}: ${reason}`, { cause: error });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function moveTo(directory: string, fresh: string): void {
  try {
    renameSync(fresh, directory);
  } catch (error) {
    // Another process was faster; its directory is as good.
    if (!existsSync(directory)) throw error;
  }
}

/** Returns the paths of the packages: those wanted and all that they depend on. */
async function download(root: string, suite: string): Promise<string[]> {
  const config = writeAptRoot(root, sourcesList(await debianArchives(), suite));
  // A failed update only matters if the packages cannot be downloaded.
  const update = await apt(config, 'update');
  const install = await apt(config, '--yes', '--download-only', 'install', ...PACKAGES);
  if (!install.ok) throw new Error(`apt-get failed\n${update.complaints}${install.complaints}`);
  const folder = join(root, 'archives');
  return readdirSync(folder)
    .filter((file) => file.endsWith('.deb'))
    .map((file) => join(folder, file));
}

async function apt(config: string, ...args: string[]): Promise<{ ok: boolean; complaints: string }> {
  try {
    const { stderr } = await run('apt-get', [`--config-file=${config}`, '--quiet=2', ...args], {
      env: { ...process.env, ...ENVIRONMENT },
      timeout: APT_LIMIT_MS,
    });
    return { ok: true, complaints: stderr };
  } catch (error) {
    return { ok: false, complaints: error instanceof Error ? `${error.message}\n` : String(error) };
  }
}

function sourcesList(uris: readonly string[], suite: string): string {
  const keyring = ['gpg', 'pgp']
    .map((ending) => `/usr/share/keyrings/debian-archive-keyring.${ending}`)
    .find((path) => existsSync(path));
  // Without it apt takes the keys that the machine trusts for every source.
  const signedBy = keyring === undefined ? '' : `[signed-by=${keyring}] `;
  return uris.map((uri) => `deb ${signedBy}${uri} ${suite} main\n`).join('');
}

/**
 * Everything that apt reads of the machine's state or writes is in `root`; the machine's configuration (proxies,
 * credentials) stays in force.
 */
function writeAptRoot(root: string, sources: string): string {
  for (const folder of ['lists/partial', 'archives/partial', 'cache'])
    mkdirSync(join(root, folder), { recursive: true });
  const file = (name: string, text: string): string => {
    writeFileSync(join(root, name), text);
    return join(root, name);
  };
  return file(
    'apt.conf',
    `Dir::State::lists "${join(root, 'lists')}";
Dir::State::status "${file('status', '')}";
Dir::State::extended_states "${file('extended_states', '')}";
Dir::Cache "${join(root, 'cache')}";
Dir::Cache::archives "${join(root, 'archives')}";
Dir::Etc::sourcelist "${file('sources.list', sources)}";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "${file('preferences', PREFERENCES)}";
Dir::Etc::preferencesparts "/dev/null";
${APT_SETTINGS}`,
  );
}

/** A source of another vendor may have a suite of the same name. */
const PREFERENCES = `Package: *
Pin: release o=Debian
Pin-Priority: 500

Package: *
Pin: release *
Pin-Priority: -1
`;

/** The hooks are for the machine's own state. Without a sandbox user apt needs no way into the directories above. */
const APT_SETTINGS = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
`;

async function unpack(packages: readonly string[], tree: string): Promise<void> {
  mkdirSync(tree);
  for (const file of packages) {
    if (await isLibcToLeaveOut(file)) continue;
    await run('dpkg-deb', ['--extract', file, tree]);
  }
}

/**
 * The newer one of two C libraries is used, because it also runs programs made for the older: the server's own on an
 * older machine, the machine's on a newer one, where the plugin may need it.
 */
async function isLibcToLeaveOut(file: string): Promise<boolean> {
  const { stdout: offered } = await run('dpkg-deb', ['--field', file, 'Package', 'Version']);
  if (field(offered, 'Package') !== 'libc6') return false;
  const { stdout: installed } = await run('dpkg-query', ['--status', 'libc6']);
  return await run('dpkg', ['--compare-versions', field(offered, 'Version'), 'le', field(installed, 'Version')]).then(
    () => true,
    () => false,
  );
}

function field(text: string, name: string): string {
  return new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1] ?? '';
}

function serverIn(directory: string, { series }: Release): OtherServer {
  const tree = join(directory, 'tree');
  const launcher = loaderIn(tree);
  const share = shareIn(tree);
  return {
    series,
    isNewer: series === NEWER.series,
    parts: { mariadbd: join(tree, 'usr/sbin/mariadbd'), launcher },
    options: { basedir: join(tree, 'usr'), lc_messages_dir: share, character_sets_dir: join(share, 'charsets') },
    template: join(directory, 'data'),
    backup: [...launcher, join(tree, 'usr/bin/mariadb-backup')],
  };
}

/**
 * The dynamic loader, told where the libraries are. Told in its arguments and not in LD_LIBRARY_PATH, which the
 * server's children would inherit.
 */
function loaderIn(tree: string): [string, ...string[]] {
  const machine = readdirSync(join(tree, 'usr/lib')).find((name) => name.endsWith('-linux-gnu')) ?? '';
  const folders = ['usr/lib', 'lib'].map((folder) => join(tree, folder, machine)).filter((path) => existsSync(path));
  const loader = [...folders, join('/lib', machine)]
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .find((path) => /\/ld-linux[^/]*\.so\.\d$/.test(path));
  if (loader === undefined) throw new Error(`no dynamic loader in ${tree} or /lib/${machine}`);
  return [loader, '--library-path', folders.join(':')];
}

/** Finds the server's messages in `tree`, unpacked or installed: the directory's name differs between series. */
export function shareIn(tree: string): string {
  const share = ['mariadb', 'mysql']
    .map((name) => join(tree, 'usr/share', name))
    .find((path) => existsSync(join(path, 'english/errmsg.sys')));
  if (share === undefined) throw new Error(`no messages of a MariaDB server in ${tree}`);
  return share;
}

/** Initialises a data directory as mariadb-install-db does, which would start the server without our loader. */
async function initialise(directory: string, release: Release): Promise<void> {
  const { parts, options } = serverIn(directory, release);
  const share = shareIn(join(directory, 'tree'));
  const server = new ScratchServer({ directory, options, ...parts });
  for (const folder of ['data', 'tmp']) mkdirSync(join(directory, folder));
  const [command = '', ...rest] = [...parts.launcher, parts.mariadbd, ...server.commandLine, '--bootstrap'];
  const bootstrap = run(command, [...rest, '--max-allowed-packet=8M', '--net-buffer-length=16K'], {
    env: ENVIRONMENT,
    maxBuffer: 64 * 1024 * 1024,
  });
  bootstrap.child.stdin?.end(systemTables(share));
  await bootstrap.catch((error: Error) => {
    throw new Error(`${error.message}\n${server.log}`);
  });
  rmSync(join(directory, 'tmp'), { recursive: true });
  rmSync(server.logFile);
}

function systemTables(share: string): string {
  const files = ['system_tables', 'performance_tables', 'system_tables_data'].map((name) => {
    const path = ['mariadb', 'mysql']
      .map((prefix) => join(share, `${prefix}_${name}.sql`))
      .find((one) => existsSync(one));
    if (path === undefined) throw new Error(`no SQL file for ${name} in ${share}`);
    return readFileSync(path, 'utf8');
  });
  return ['CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n', ...files].join('\n');
}
