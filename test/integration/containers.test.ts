/** The ways in which containers and systemd start a server. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { childrenOf } from '../../harness/children.ts';
import {
  EVERYTHING_ENCRYPTED,
  PATH,
  pluginOptions,
  ScratchServer,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { freePort } from '../support/free-port.ts';
import { agentsOf, keyFiles, newServer, run, startKms } from '../support/lab.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

/** A user id without an entry in the list of users. */
const STRANGER = 54_321;

/** PID and mount namespaces of its own, a root nobody can write, `writable` and a tmpfs, and a user without a name. */
function containerLauncher(writable: string): readonly string[] {
  const mounts = [
    'mount --bind "$0" "$0"',
    'mount -o remount,bind,ro /',
    'mount -t tmpfs tmpfs /run',
    `exec setpriv --reuid=${STRANGER} --regid=${STRANGER} --clear-groups "$@"`,
  ];
  const unshare = ['unshare', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
  return [...unshare, 'sh', '-ec', mounts.join('; '), writable];
}

it("the plugin works as an image's entry point starts it: install, temporary server, init SQL, then process 1", async () => {
  expect(process.getuid?.(), 'this test needs root, to make namespaces').toBe(0);
  expect(readFileSync('/etc/passwd', 'utf8')).not.toContain(`:${STRANGER}:`);
  const kms = await startKms();
  const directory = scratchDirectory();
  for (const name of ['data', 'tmp']) mkdirSync(join(directory, name));
  chmodSync(directory, 0o755);
  execFileSync('chown', ['-R', String(STRANGER), directory]);
  const options = { ...pluginOptions(kms.url), ...EVERYTHING_ENCRYPTED };
  const launcher = containerLauncher(directory);
  const server = new ScratchServer({ directory, options, launcher, user: String(STRANGER) });
  cleanUp(() => server.kill());
  const [program = '', ...args] = launcher;
  // `server.commandLine` has the server's further options, all of which the script accepts.
  const install = ['mariadb-install-db', ...server.commandLine.filter((option) => !/^--(user|log-bin)/.test(option))];
  const { stdout, stderr } = await run(program, [...args, ...install, '--auth-root-authentication-method=normal'], {
    env: { PATH, ...TEST_CREDENTIALS },
  });
  expect(keyFiles(server.datadir), stdout + stderr + server.log).toContain('aws-kms-key.1.1');

  await server.start();
  await server.sql('CREATE DATABASE app');
  await server.sql('CREATE TABLE app.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('INSERT INTO app.t VALUES (1)');
  await server.sql('SHUTDOWN');
  await until('the temporary server has ended', () => !server.isRunning);

  await server.start();
  const [mariadbd = 0] = childrenOf(server.pid);
  const status = readFileSync(`/proc/${mariadbd}/status`, 'utf8');
  expect(status).toMatch(/^NSpid:\t\d+\t1$/m);
  expect(status).toMatch(new RegExp(`^Uid:\t${STRANGER}\t`, 'm'));
  expect(readFileSync(`/proc/${mariadbd}/mountinfo`, 'utf8')).toMatch(/ \/ \/ ro,/);
  expect(await server.sql('SELECT i FROM app.t')).toEqual([{ i: 1 }]);
  const [agent = 0] = childrenOf(mariadbd);
  expect(readFileSync(`/proc/${agent}/environ`, 'utf8').split('\0')).toContain('HOME=/nonexistent');
  // The container's first process must reap the agent; the server starts another one.
  process.kill(agent, 'SIGKILL');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1').catch(() => undefined);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect(childrenOf(mariadbd)).toHaveLength(1);
  expect(childrenOf(mariadbd)).not.toContain(agent);
  // The signal of `docker stop`.
  process.kill(mariadbd, 'SIGTERM');
  await until('the server has ended', () => !server.isRunning);
  expect(server.log).toContain('Shutdown complete');
});

interface Notifications {
  readonly socket: string;
  received(): string;
}

/** systemd's side of Type=notify. */
async function listenForNotifications(directory: string): Promise<Notifications> {
  const socket = join(directory, 'notify');
  // Node.js has no datagram sockets of this family.
  const script =
    'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nwhile True: print(s.recv(4096).decode(),flush=True)';
  const child = spawn('python3', ['-c', script, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exited = once(child, 'exit');
  cleanUp(async () => {
    child.kill();
    await exited;
  });
  await until('somebody listens', () => existsSync(socket));
  return { socket, received: () => text };
}

function socketsOf(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
    .filter((target) => target.startsWith('socket:'));
}

it("a service of Type=notify reports that it is ready, and its agent inherits none of the server's sockets", async () => {
  const kms = await startKms();
  const directory = scratchDirectory();
  const notifications = await listenForNotifications(directory);
  const server = newServer(
    {
      ...pluginOptions(kms.url),
      ...EVERYTHING_ENCRYPTED,
      skip_networking: 0,
      bind_address: '127.0.0.1',
      port: await freePort(),
    },
    {
      environment: {
        ...TEST_CREDENTIALS,
        NOTIFY_SOCKET: notifications.socket,
        LISTEN_FDNAMES: 'x',
        WATCHDOG_USEC: '9',
      },
    },
  );
  await server.start();
  await until('systemd hears of it', () => notifications.received().includes('READY=1'));
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  const open = await server.connect();
  await open.query('SELECT 1');
  const [agent = 0, ...more] = await agentsOf(server);
  expect(more).toEqual([]);
  expect(readFileSync(`/proc/${server.pid}/environ`, 'utf8')).toContain('NOTIFY_SOCKET=');
  expect(readFileSync(`/proc/${agent}/environ`, 'utf8')).not.toMatch(/NOTIFY_SOCKET|LISTEN_|WATCHDOG/);
  const ofServer = socketsOf(server.pid);
  // The TCP port, the socket file, the socket pair to the agent, the open connection.
  expect(ofServer.length).toBeGreaterThanOrEqual(4);
  expect(socketsOf(agent).filter((socket) => ofServer.includes(socket))).toEqual([]);
  const files = readdirSync(`/proc/${agent}/fd`).map((fd) => readlinkSync(`/proc/${agent}/fd/${fd}`));
  expect(files.filter((file) => file.startsWith(server.datadir))).toEqual([]);
  await server.stop();
  expect(notifications.received()).toMatch(/STOPPING=1|STATUS=MariaDB server is down/);
});
