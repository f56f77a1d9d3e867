/** A stopped server of a directory of its own, which a script of Debian's kind starts, and `init` for it. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import { COMMAND, PLUGIN_DIRECTORY, SMALL } from '../../harness/scratch-server.ts';
import { initCommand } from '../../src/cli/init.ts';
import { systemSurroundings } from '../../src/cli/system-surroundings.ts';
import { sha256 } from '../../src/disk/files.ts';
import { SYSTEM_PATHS } from '../../src/server/surroundings.ts';
import { SETUP_PATHS } from '../../src/setup/paths.ts';
import { TEMPLATE } from './global-setup.ts';
import { run } from './lab.ts';
import { cleanUp, scratchDirectory } from './scratch.ts';

let root: string;

/** Path of a file of the running test. */
export const at = (name: string): string => join(root, name);

/** Called before each test. */
export function makeServer(): void {
  if (process.getuid?.() !== 0) throw new Error('only root may set up a server: run these tests as root');
  root = scratchDirectory();
  cpSync(TEMPLATE, at('data'), { recursive: true });
  for (const name of ['options', 'units', 'tmp']) mkdirSync(at(name));
  const server = {
    datadir: at('data'),
    tmpdir: at('tmp'),
    'pid-file': at('pid'),
    log_error: at('error.log'),
    plugin_dir: PLUGIN_DIRECTORY,
    user: 'root',
    ...SMALL,
  };
  const lines = Object.entries(server).map(([name, value]) => `${name}=${value}`);
  writeFileSync(
    at('my.cnf'),
    `[client-server]\nsocket=${at('sock')}\n[mariadb]\nskip-networking\n${lines.join('\n')}\n!includedir ${at('options')}\n`,
  );
  writeFileSync(at('init.d'), INIT_SCRIPT, { mode: 0o755 });
  // MariaDB's programs read my.cnf there, after those of the system.
  vi.stubEnv('MYSQL_HOME', root);
  cleanUp(() => void vi.unstubAllEnvs());
  cleanUp(async () => {
    await script('stop');
    if (existsSync(at('trial/kms.pid'))) await shell('kill "$(cat trial/kms.pid)" 2>/dev/null || :');
  });
}

const INIT_SCRIPT = `#!/bin/sh
root=\${0%/init.d}
[ ! -e "$root/defaults" ] || . "$root/defaults"
stop() {
  [ -s "$root/pid" ] || return 0
  pid=$(cat "$root/pid")
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}
start() {
  setsid mariadbd --defaults-file="$root/my.cnf" $MORE >/dev/null 2>&1 &
  for _ in $(seq 600); do
    if mariadb --defaults-file="$root/my.cnf" -e 'DO 1' 2>/dev/null; then return 0; fi
    kill -0 $! 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}
case $1 in
  start) start ;;
  stop) stop ;;
  restart) stop && start ;;
esac
`;

export async function script(verb: string): Promise<void> {
  await run(at('init.d'), [verb], { timeout: 100_000 });
}

/** Runs a script in the test's directory, with MariaDB's client for its server, and returns the output. */
export async function shell(text: string): Promise<string> {
  const script = `mariadb() { command mariadb --defaults-file=${at('my.cnf')} "$@"; }\n${text}`;
  return (await run('bash', ['-e', '-o', 'pipefail', '-c', script], { cwd: root })).stdout.trim();
}

export async function sql(text: string): Promise<string> {
  return (await run('mariadb', [`--defaults-file=${at('my.cnf')}`, '-N', '-e', text])).stdout.trim();
}

export async function isActive(): Promise<boolean> {
  const count = "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name='aws_key_management'";
  return (await sql(count)) === '1';
}

/** Modes, and of files times and checksums too, of everything that `init` may touch; a running server and a running KMS write elsewhere. */
export function everything(): string {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  return names
    .filter((name) => !/^(?:data|tmp|sock|pid|error\.log|trial\/kms\.log)(?:$|\/)/.test(name))
    .map((name) => {
      const facts = statSync(at(name));
      const { mode, mtimeMs, ctimeMs, ino } = facts;
      // The doctor makes a file in the key directory, to see whether that can be done.
      if (facts.isDirectory()) return `${name} ${mode} ${ino}`;
      return `${name} ${mode} ${ino} ${mtimeMs} ${ctimeMs} ${sha256(readFileSync(at(name)))}`;
    })
    .join('\n');
}

/** Empty for a process that has ended, even if nobody has asked for its status. */
export function commandLine(pid: string): string {
  const file = join('/proc', pid, 'cmdline');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

interface Said {
  readonly out: string;
  readonly err: string;
}

export async function init(...flags: readonly string[]): Promise<Said> {
  const [out, err]: [string[], string[]] = [[], []];
  const io = {
    stdout: (line: string) => void out.push(line),
    stderr: (line: string) => void err.push(line),
    onSignal: () => () => undefined,
    hasColours: false,
    columns: undefined,
    isInteractive: false,
    ask: async () => '',
    exit: () => undefined,
  };
  const outside = systemSurroundings();
  const paths = {
    ...SYSTEM_PATHS,
    systemd: at('no'),
    auditLog: at('tmp/audit.log'),
    initScript: at('init.d'),
    initDefaults: at('defaults'),
    units: [],
  };
  const setup = {
    ...SETUP_PATHS,
    optionDirectories: [at('options')],
    unitDirectory: at('units'),
    keyDirectory: at('keys'),
    trialDirectory: at('trial'),
    lock: at('tmp/init.lock'),
  };
  const command = initCommand(
    io,
    () => ({ ...outside, paths }),
    setup,
    () => [COMMAND],
  ).exitOverride();
  await command.parseAsync(flags, { from: 'user' });
  return { out: out.join('\n'), err: err.join('\n') };
}
