/** Upgrades and downgrades of the package beside a server that is written to all the time. */
import { Writers } from '../../harness/writers.ts';
import {
  AGENT_KEYS,
  configure,
  letServerSpawn,
  rotate,
  SERVER_KEYS,
  separateAgent,
  startKms,
  startSeparateAgent,
} from './configured.ts';
import { expectThat, type Machine } from './machine.ts';

const NEEDRESTART = '/etc/needrestart/conf.d/mariadb-plugin-aws-key-management.conf';
const SESSIONS = 4;
const KEY = 7;

export interface Packages {
  readonly earlier: string;
  readonly current: string;
}

/** The agent is the server's own. */
export async function upgradeSpawned(machine: Machine, packages: Packages): Promise<string> {
  await machine.run(`apt-get install -y needrestart ${machine.bring(packages.earlier)}`);
  await startKms(machine);
  await letServerSpawn(machine);
  await configure(machine, { keys: SERVER_KEYS });
  return await upAndDown(machine, packages, SERVER_KEYS, async () => {
    await machine.until('the agent of the earlier package is idle and ends', async () => !(await spawned(machine)));
  });
}

/** The agent is the service of the package, which an upgrade restarts. */
export async function upgradeSeparate(machine: Machine, packages: Packages): Promise<string> {
  await machine.run(`apt-get install -y needrestart ${machine.bring(packages.earlier)}`);
  await startKms(machine);
  await startSeparateAgent(machine);
  await configure(machine, { agent: 'separate', keys: '' });
  let agent = await separateAgent(machine);
  return await upAndDown(machine, packages, AGENT_KEYS, async () => {
    const now = await separateAgent(machine);
    expectThat(now !== agent, 'the package restarted its agent', now);
    agent = now;
  });
}

async function spawned(machine: Machine): Promise<boolean> {
  return (await machine.session.try('pgrep -P $(pidof mariadbd)')).status === 0;
}

/** @param afterwards called after each change of the package, with the other agent to wait for */
async function upAndDown(
  machine: Machine,
  { earlier, current }: Packages,
  keys: string,
  afterwards: () => Promise<void>,
): Promise<string> {
  await machine.sql(`CREATE DATABASE d; CREATE TABLE d.w (i INT) ENCRYPTED=YES ENCRYPTION_KEY_ID=${KEY}`);
  const before = await plugin(machine);
  const writers = await Writers.start(machine, 'd.w', SESSIONS);
  let version = 1;
  /** Rotates, makes a new key, and checks both. */
  const work = async (table: number): Promise<void> => {
    version += 1;
    const now = await rotate(machine, KEY);
    expectThat(now === version, `the rotation makes version ${version}`, String(now));
    await machine.sql(`CREATE TABLE d.t${table} (i INT) ENCRYPTED=YES ENCRYPTION_KEY_ID=${table}`);
    await machine.sql(`INSERT INTO d.t${table} VALUES (${table})`);
  };
  /** Installs beside the running server, and rotates meanwhile and afterwards. */
  const change = async (deb: string, table: number): Promise<void> => {
    const server = await machine.server();
    const place = machine.bring(deb);
    const installed = machine.run(`NEEDRESTART_MODE=a apt-get install -y --allow-downgrades ${place}`);
    await Promise.all([installed, work(table)]);
    await expectNeedrestartQuiet(machine);
    expectThat((await machine.server()) === server, 'the server runs on');
    expectThat((await plugin(machine)) === loaded, 'the server still has the plugin that it was started with');
    await afterwards();
    await work(table + 1);
  };
  const laps: string[] = [];
  const stop = async (sessions: Writers, what: string): Promise<void> => {
    const { commits, longestGapMs } = sessions.lap();
    await sessions.stop();
    laps.push(`${what}: ${commits} inserts, the longest wait ${Math.round(longestGapMs)} ms`);
  };

  let loaded = before;
  await change(current, 20);
  await stop(writers, 'upgrade');
  await machine.service('restart');
  const upgraded = await plugin(machine);
  expectThat(upgraded !== before, 'a restart runs the plugin of the upgrade', upgraded);

  loaded = upgraded;
  const again = await Writers.start(machine, 'd.w', SESSIONS);
  await work(30);
  await change(earlier, 40);
  await stop(again, 'downgrade');
  await machine.service('restart');
  expectThat((await plugin(machine)) === before, 'a restart runs the earlier plugin', await plugin(machine));
  await work(50);
  await expectEverything(machine, keys, version);
  return `${laps.join('; ')}; plugin ${before} → ${upgraded} → ${before}; ${version} versions of key ${KEY}`;
}

/** needrestart would restart the server for its old plugin and its old agent, and the package's file keeps it from that. */
async function expectNeedrestartQuiet(machine: Machine): Promise<void> {
  const services = async (): Promise<string> => await machine.run('needrestart -b -r l');
  const quiet = await services();
  expectThat(!quiet.includes('mariadb.service'), 'needrestart leaves the server alone', quiet);
  await machine.run(`mv ${NEEDRESTART} /root/aside`);
  const loud = await services();
  await machine.run(`mv /root/aside ${NEEDRESTART}`);
  expectThat(loud.includes('mariadb.service'), "without the package's file needrestart restarts the server", loud);
}

/** Version and checksum of the plugin that the server has in its memory, whichever file is in its place now. */
async function plugin(machine: Machine): Promise<string> {
  const version = await machine.sql(
    "SELECT PLUGIN_AUTH_VERSION FROM INFORMATION_SCHEMA.PLUGINS WHERE PLUGIN_NAME = 'aws_key_management'",
  );
  const checksum = await machine.run(`
    for mapped in /proc/$(pidof mariadbd)/map_files/*; do
      case $(readlink $mapped) in */aws_key_management.so*) sha256sum <$mapped | cut -c 1-8; break ;; esac
    done`);
  return `${version} ${checksum.trim()}`;
}

async function expectEverything(machine: Machine, keys: string, versions: number): Promise<void> {
  for (const table of [20, 21, 30, 40, 41, 50])
    expectThat((await machine.sql(`SELECT * FROM d.t${table}`)) === String(table), `table ${table} reads`);
  const files = machine.list(keys).filter((name) => new RegExp(`^aws-kms-key\\.${KEY}\\.\\d+$`).test(name));
  expectThat(files.length === versions, `each of the ${versions} versions has its file`, files.join(' '));
  await machine.sql('CHECK TABLE d.w');
}
