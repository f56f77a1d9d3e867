/**
 * The layout of MariaDB's container image with the package's files copied in, in chroots: no container engine runs here.
 * The entry point does what the image's does; the image itself was not run.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TEST_ACCESS_KEYS_FILE } from '../../harness/scratch-server.ts';
import { KMS_URL, REGION, startKms } from './configured.ts';
import { documented } from './initialised.ts';
import { expectThat, type Machine } from './machine.ts';

const IMAGE = '/containers/server';
const SIDECAR = '/containers/agent';
/** The volume that both mount. */
const SOCKET_DIRECTORY = '/run/mariadb-aws-kms';
const TEXT = 'a text that no page may show';
/** Users without a name, as images have them. The group is the one of the socket's directory. */
const [SERVER_ID, AGENT_ID] = [999, 1500];

/** As the image's: the options of the command go to mariadb-install-db and to a temporary server as well. */
const ENTRY_POINT = `#!/bin/bash
set -eo pipefail
as_server() { setpriv --reuid=${SERVER_ID} --regid=${SERVER_ID} --clear-groups "$@"; }
if [ "$1" != inside ]; then exec setpriv --reuid=${SERVER_ID} --regid=${SERVER_ID} --clear-groups bash "$0" inside "$@"; fi
shift
if [ ! -d /var/lib/mysql/mysql ]; then
  mariadb-install-db --datadir=/var/lib/mysql --rpm --auth-root-authentication-method=normal --skip-test-db \\
    --default-time-zone=SYSTEM --enforce-storage-engine= --skip-log-bin --expire-logs-days=0 \\
    --loose-innodb_buffer_pool_load_at_startup=0 --loose-innodb_buffer_pool_dump_at_shutdown=0 "\${@:2}"
  "$@" --skip-networking --default-time-zone=SYSTEM --socket=/run/mysqld/mysqld.sock --wsrep_on=OFF \\
    --expire-logs-days=0 --skip-slave-start --loose-innodb_buffer_pool_load_at_startup=0 --skip-ssl &
  temporary=$!
  for i in {30..0}; do mariadb --skip-ssl -u root -e 'SELECT 1' >/dev/null 2>&1 && break; sleep 1; done
  mariadb --skip-ssl -u root </docker-entrypoint-initdb.d/init.sql
  kill "$temporary"
  wait "$temporary"
fi
exec "$@"
`;
/** The options that install.md gives to the image. */
function documentedOptions(): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs/install.md'), 'utf8');
  const [, options] = /^docker run .* IMAGE( --[^`]*)^```/m.exec(text) ?? [];
  if (options === undefined) throw new Error('docs/install.md has no "docker run … IMAGE --OPTIONS"');
  return options.trim().split(/\s+/);
}

const INIT_SQL = `CREATE DATABASE d;
CREATE TABLE d.t (i INT, s TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=7;
INSERT INTO d.t VALUES (1, '${TEXT}');
`;

/** The server's container starts the agent itself. */
export async function container(machine: Machine, deb: string): Promise<string> {
  await makeImage(machine, deb);
  await startKms(machine);
  await machine.write(`${IMAGE}/credentials`, TEST_ACCESS_KEYS_FILE, '0600', String(SERVER_ID));
  const options = [`--aws-key-management-endpoint-url=${KMS_URL}`];
  return `its own agent: ${await run(machine, options)}`;
}

/** The agent has a container of its own, which holds the executable, its libraries, and nothing else. */
export async function sidecar(machine: Machine, deb: string): Promise<string> {
  await makeImage(machine, deb);
  await startKms(machine);
  await machine.run(`
    install -d -m 0755 ${SIDECAR} ${SIDECAR}/tmp ${SIDECAR}/usr/bin ${SIDECAR}/dev ${SIDECAR}/proc ${SIDECAR}${SOCKET_DIRECTORY}
    install -d -m 0700 -o ${AGENT_ID} ${SIDECAR}/keys
    cp /usr/bin/mariadb-aws-kms ${SIDECAR}/usr/bin
    for library in $(ldd /usr/bin/mariadb-aws-kms | grep -o '/[^ ]*'); do
      install -D $(readlink -f $library) ${SIDECAR}$library
    done
    install -d -m 0750 -o ${AGENT_ID} -g ${SERVER_ID} /volume
    mount --bind /volume ${SIDECAR}${SOCKET_DIRECTORY}
    mount --bind /dev ${SIDECAR}/dev
    mount --bind /volume ${IMAGE}${SOCKET_DIRECTORY}`);
  await machine.write(`${SIDECAR}/credentials`, TEST_ACCESS_KEYS_FILE, '0600', String(AGENT_ID));
  await machine.run(`
    unshare --pid --fork --kill-child --mount sh -c 'mount -t proc proc ${SIDECAR}/proc; \
      AWS_SHARED_CREDENTIALS_FILE=/credentials exec setsid chroot \
      --userspec=${AGENT_ID}:${SERVER_ID} ${SIDECAR} /usr/bin/mariadb-aws-kms agent --listen ${SOCKET_DIRECTORY}/agent.sock \
      --keyfile-dir /keys --region ${REGION} --endpoint-url ${KMS_URL}' \
      </dev/null >/agent.log 2>&1 &
    for i in $(seq 100); do [ -S /volume/agent.sock ] && exit 0; sleep 0.1; done; cat /agent.log; exit 1`);
  const said = await run(machine, [`--aws-key-management-agent=unix:${SOCKET_DIRECTORY}/agent.sock`]);
  const spawned = await machine.session.try('pgrep -P $(pidof mariadbd)');
  expectThat(spawned.status !== 0, 'the server has no agent of its own', spawned.output);
  expectThat(machine.list(`${SIDECAR}/keys`).includes('aws-kms-key.7.1'), 'the keys are with the sidecar');
  return `an agent of ${await files(machine)} files in a container of its own: ${said}`;
}

async function files(machine: Machine): Promise<string> {
  return (await machine.run(`cd ${SIDECAR} && find usr lib lib64 -type f | wc -l`)).trim();
}

/** The image: the server's root as it is, without a data directory, and the files that a Dockerfile copies in. */
async function makeImage(machine: Machine, deb: string): Promise<void> {
  await machine.service('stop');
  await machine.run(`
    apt-get install -y libatomic1
    dpkg-deb -x ${machine.bring(deb)} /
    usermod --non-unique --uid ${SERVER_ID} mysql
    groupmod --non-unique --gid ${SERVER_ID} mysql
    install -d ${IMAGE}
    mount --rbind / ${IMAGE}
    for directory in /var/lib/mysql /run/mysqld /var/tmp; do
      mount -t tmpfs -o mode=755,uid=${SERVER_ID},gid=${SERVER_ID} tmpfs ${IMAGE}$directory
    done
    install -d ${IMAGE}${SOCKET_DIRECTORY} ${IMAGE}/docker-entrypoint-initdb.d`);
  const [layer = ''] = documented('install.md', 'RUN install -d ');
  await machine.run(`chroot ${IMAGE} sh -c '${layer.replace(/^RUN /, '')}'`);
  await machine.write(`${IMAGE}/docker-entrypoint-initdb.d/init.sql`, INIT_SQL);
  await machine.write(`${IMAGE}/docker-entrypoint.sh`, ENTRY_POINT, '0755');
}

async function run(machine: Machine, agent: readonly string[]): Promise<string> {
  const command = [
    'mariadbd',
    ...documentedOptions(),
    ...agent,
    '--innodb-encrypt-tables=ON',
    '--innodb-encrypt-log=ON',
  ].join(' ');
  const start = async (): Promise<void> => {
    await machine.run(`
      unshare --pid --fork --kill-child --mount sh -c 'mount -t proc proc ${IMAGE}/proc; exec setsid chroot ${IMAGE} \
        env AWS_SHARED_CREDENTIALS_FILE=/credentials /docker-entrypoint.sh ${command}' </dev/null >/server.log 2>&1 &
      for i in $(seq 120); do
        grep -q 'port: 3306' /server.log && exit 0
        kill -0 $! || break
        sleep 0.5
      done
      cat /server.log; exit 1`);
  };
  const select = async (): Promise<string> =>
    await machine.run(`chroot ${IMAGE} mariadb -u root -BN`, 'SELECT s FROM d.t');
  await start();
  expectThat((await select()).trim() === TEXT, 'the table of the init script reads');
  const status = await machine.run('cat /proc/$(pidof mariadbd)/status');
  expectThat(/^NSpid:.*\t1$/m.test(status), 'the server is process 1 of its container', status);
  const table = machine.read(`${IMAGE}/var/lib/mysql/d/t.ibd`);
  expectThat(!table.includes(TEXT), 'its file does not show the text');
  await machine.run('kill $(pidof mariadbd); while pidof mariadbd; do sleep 0.2; done');
  await start();
  expectThat((await select()).trim() === TEXT, 'the table reads when the container is started again');
  return 'install, temporary server, init SQL, process 1, second start';
}
