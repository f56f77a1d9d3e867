/** Two-node Galera clusters on loopback. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { shareIn } from '../../harness/other-server.ts';
import {
  EVERYTHING_ENCRYPTED,
  pluginOptions,
  ScratchServer,
  type ServerOptions,
} from '../../harness/scratch-server.ts';
import { sstScripts } from '../../harness/sst-scripts.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { freePort } from './free-port.ts';
import { TEMPLATE } from './global-setup.ts';
import { cleanUp, scratchDirectory, until } from './scratch.ts';

export type SstMethod = 'rsync' | 'mariabackup';

/** An rsync daemon that root starts runs as nobody; so does the whole node. */
const USER = process.getuid?.() === 0 ? 'nobody' : 'root';

export interface Node {
  readonly server: ScratchServer;
  /** The address under which other nodes reach it. */
  readonly address: string;
}

/** A stopped node; without peers it starts a cluster. */
export async function newNode(
  kms: DevKms,
  method: SstMethod,
  peers: readonly Node[] = [],
  changes: ServerOptions = {},
): Promise<Node> {
  const [group, incremental, transfer] = [await freePort(), await freePort(), await freePort()];
  const address = `127.0.0.1:${group}`;
  const share = shareIn('/');
  const options = pluginOptions(kms.url, {
    ...EVERYTHING_ENCRYPTED,
    // The server looks for the scripts in its own bin before PATH.
    basedir: dirname(await sstScripts()),
    lc_messages_dir: share,
    character_sets_dir: join(share, 'charsets'),
    binlog_format: 'ROW',
    innodb_autoinc_lock_mode: 2,
    wsrep_on: 'ON',
    wsrep_provider: '/usr/lib/galera/libgalera_smm.so',
    wsrep_cluster_address: `gcomm://${peers.map((peer) => peer.address).join(',')}`,
    wsrep_node_address: '127.0.0.1',
    wsrep_provider_options: `gmcast.listen_addr=tcp://${address};base_host=127.0.0.1;base_port=${group};ist.recv_addr=127.0.0.1:${incremental};gcache.size=8M`,
    wsrep_sst_receive_address: `127.0.0.1:${transfer}`,
    wsrep_sst_method: method,
    wsrep_sst_auth: 'root:',
    ...changes,
  });
  const server = new ScratchServer({
    directory: scratchDirectory(),
    options,
    // Without this setting the scripts would move old logs into a directory that all servers of the machine share.
    optionFile: '[sst]\nsst-log-archive=0\n',
    user: USER,
  });
  server.copyDatabase(TEMPLATE);
  cleanUp(() => endNode(server));
  return { server, address };
}

/** Resolves when the node has everything that the cluster has. */
export async function joinCluster({ server }: Node): Promise<void> {
  await server.start();
  await until('the node is synced', async () => {
    return (await server.variable('STATUS', 'wsrep_local_state_comment')) === 'Synced';
  });
}

/** Ends the scripts and their children as well: they outlive a killed server. */
async function endNode(server: ScratchServer): Promise<void> {
  await server.kill();
  await until('nothing of the node runs', () => {
    const left = processesOf(server.directory);
    for (const pid of left) endProcess(pid);
    return left.length === 0;
  });
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process has ended by itself.
  }
}

/** The arguments of processes that work in the directory or name it in their arguments. */
export function commandsIn(directory: string): string[][] {
  return processesOf(directory).map((pid) => argumentsOf(pid));
}

function processesOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => `${workingDirectory(pid)}/`.startsWith(`${directory}/`) || mentions(pid, `${directory}/`));
}

function mentions(pid: number, directory: string): boolean {
  return argumentsOf(pid).some((argument) => argument.includes(directory));
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

function workingDirectory(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

/** Copies the key files by the command that a DBA would use. */
export function copyKeyFiles(from: string, to: string): void {
  for (const name of readdirSync(from).filter((file) => file.startsWith('aws-kms-key.')))
    execFileSync('cp', ['--preserve', join(from, name), to]);
}
