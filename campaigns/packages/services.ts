/** The units, run by systemd as they are: the server's of the distribution, and the package's own of the agent. */
import { dirname } from 'node:path';
import { AGENT_UNIT, rotate, startKms } from './configured.ts';
import { documented, initSeparate, initSpawned } from './initialised.ts';
import { expectThat, type Machine } from './machine.ts';
import { expectEncrypted } from './proof.ts';

const TEXT = 'a text that no page may show';
/** Restrictions of the server's unit in both releases. The server replaces the umask by its own. */
const OF_SERVER = {
  ProtectSystem: 'full',
  ProtectHome: 'yes',
  ProtectControlGroups: 'yes',
  LimitMEMLOCK: '524288',
  AmbientCapabilities: 'cap_ipc_lock',
  UMask: '0007',
} as const;

/** The server's unit, and the agent that the server starts within it, as `init` sets it up. */
export async function serverUnit(machine: Machine, deb: string): Promise<string> {
  await machine.run(`apt-get install -y ${machine.bring(deb)}`);
  const shown = await machine.run(`systemctl show mariadb ${properties(Object.keys(OF_SERVER))}`);
  for (const [name, value] of Object.entries(OF_SERVER))
    expectThat(shown.includes(`${name}=${value}\n`), `the server's unit has ${name}=${value}`, shown);
  await startKms(machine);
  await initSpawned(machine);
  await use(machine);
  const agent = (await machine.run('pgrep -P $(pidof mariadbd)')).trim();
  await expectReadOnly(machine, agent, ['/usr/local/x', '/etc/x', '/boot/x', '/home/x', '/root/x', '/sys/fs/cgroup/x']);
  const limits = await machine.run(`grep 'Max locked memory' /proc/${agent}/limits`);
  expectThat(/ 524288 +524288 /.test(limits), 'the agent may lock as much memory as the unit allows', limits);
  const backup = [...documented('install.md', 'export AWS_'), ...documented('install.md', 'mariadb-backup ')];
  const bare = await machine.session.try(backupTo('/backup/bare'));
  expectThat(
    bare.status === 0 && bare.output.includes('_FILE as mariadb.service'),
    "root's backup finds the variable",
    bare.output,
  );
  await machine.run(backup.join('\n'));
  await expectAtRest(machine);
  return `${Object.entries(OF_SERVER)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}: the spawned agent works`;
}

/** The unit of the separate agent as `init` sets it up, also when both start in one go, as they do when the machine boots. */
export async function agentUnit(machine: Machine, deb: string): Promise<string> {
  await machine.run(`apt-get install -y ${machine.bring(deb)}`);
  await startKms(machine);
  await initSeparate(machine);
  await use(machine);
  const agent = (await machine.run(`systemctl show --value -p MainPID ${AGENT_UNIT}`)).trim();
  await expectReadOnly(machine, agent, ['/usr/local/x', '/etc/x', '/var/x', '/home/x', '/root/x']);
  const status = await machine.run(`cat /proc/${agent}/status`);
  for (const line of ['NoNewPrivs:\t1', 'Seccomp:\t2', 'CapBnd:\t0000000000000000', 'Umask:\t0077'])
    expectThat(status.split('\n').includes(line), `the agent has ${line}`, status);
  const limits = await machine.run(`grep 'Max core file size' /proc/${agent}/limits`);
  expectThat(/size +[01] +[01] /.test(limits), 'the agent leaves no core file', limits);
  const user = (await machine.run(`ps -o user= -p ${agent}`)).trim();
  const keys = await machine.run('stat -c "%U %a" /var/lib/mariadb-aws-kms-agent');
  expectThat(keys.startsWith(user.slice(0, 7)) || keys.includes('mariadb-aws-kms 700'), 'the keys are its own', keys);
  const limit = (await machine.run(`systemctl show --value -p StartLimitIntervalUSec ${AGENT_UNIT}`)).trim();
  expectThat(limit === '0', 'an agent that fails often is started again all the same', limit);
  const denied = await machine.session.try('setpriv --reuid=nobody --clear-groups ls /run/mariadb-aws-kms');
  expectThat(denied.status !== 0, "users other than the server's cannot reach the socket", denied.output);

  await machine.run(`systemctl stop mariadb ${AGENT_UNIT}`);
  await machine.run(`systemctl start mariadb ${AGENT_UNIT}`);
  expectThat((await machine.sql('SELECT COUNT(*) FROM d.t')) === '100', 'the table reads after a common start');
  // The agent's identity counts, not that of the shell.
  await machine.run(`${backupTo('/backup/full')} && mariadb-backup --prepare --target-dir=/backup/full`);
  await expectAtRest(machine);
  const exposure = await machine.run(`systemd-analyze security --no-pager ${AGENT_UNIT} | tail -n 1`);
  return `works within its restrictions; ${exposure.trim().replace(/^\W+/, '')}`;
}

async function use(machine: Machine): Promise<void> {
  await machine.sql(`CREATE DATABASE d; USE d; CREATE TABLE d.t (i INT, s TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=7;
    INSERT INTO d.t SELECT seq, '${TEXT}' FROM seq_1_to_100`);
  expectThat((await rotate(machine, 7)) === 2, 'the key rotates');
}

function backupTo(directory: string): string {
  return `install -d -m 0700 ${dirname(directory)} && mariadb-backup --backup --target-dir=${directory}`;
}

async function expectAtRest(machine: Machine): Promise<void> {
  await machine.service('stop');
  expectEncrypted(machine, 'd.t', TEXT);
  await machine.service('start');
  expectThat((await machine.sql('SELECT COUNT(*) FROM d.t')) === '100', 'the table reads after a restart');
}

/** Tries to write, as root but within the mounts of that process. */
async function expectReadOnly(machine: Machine, pid: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const tried = await machine.session.try(`nsenter --target ${pid} --mount touch ${file}`);
    expectThat(tried.status !== 0, `${file} cannot be written`, tried.output);
  }
}

function properties(names: readonly string[]): string {
  return names.map((name) => `-p ${name}`).join(' ');
}
