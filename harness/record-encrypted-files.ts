/**
 * Writes test/vectors/logs and test/vectors/aria: binary and relay logs, with checksums and without, and Aria tables that
 * real servers encrypted with a key of file_key_management, which is 16 bytes of value 1.
 */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { installDatabase, ScratchServer, type ServerOptions, serverPlugin } from './scratch-server.ts';

const VECTORS = join(import.meta.dirname, '../test/vectors');
const ALGORITHMS = { cbc: 'AES_CBC', ctr: 'AES_CTR' } as const;
const directory = mkdtempSync(join(tmpdir(), 'mak-record-'));
const template = join(directory, 'template');
const keyFile = join(directory, 'keys.txt');
const password = 'x';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function node(name: string, algorithm: string, options: ServerOptions): ScratchServer {
  const server = new ScratchServer({
    directory: join(directory, name),
    options: {
      plugin_load_add: 'file_key_management',
      plugin_dir: dirname(serverPlugin('file_key_management')),
      file_key_management_filename: keyFile,
      file_key_management_encryption_algorithm: algorithm,
      log_bin: 'binlog',
      relay_log: 'relay',
      encrypt_binlog: 'ON',
      ...options,
    },
  });
  server.copyDatabase(template);
  return server;
}

async function record(name: string, algorithm: string): Promise<void> {
  const port = await freePort();
  const networking = { skip_networking: 0, bind_address: '127.0.0.1', port };
  const source = node(`source-${name}`, algorithm, { server_id: 1, ...networking });
  const replica = node(`replica-${name}`, algorithm, { server_id: 2 });
  try {
    await source.start();
    await replica.start();
    await source.sql(`CREATE USER replicator@'%' IDENTIFIED BY '${password}'`);
    await source.sql("GRANT REPLICATION SLAVE ON *.* TO replicator@'%'");
    await replica.sql('SET GLOBAL relay_log_purge=0');
    await replica.sql(
      `CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${port}, MASTER_USER='replicator', MASTER_PASSWORD='${password}', MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0`,
    );
    await source.sql('FLUSH BINARY LOGS');
    await source.sql('CREATE DATABASE d');
    await source.sql('CREATE TABLE d.t (i INT PRIMARY KEY)');
    await source.sql('INSERT INTO d.t VALUES (1), (2)');
    await source.sql('SET GLOBAL binlog_checksum=NONE');
    await source.sql('INSERT INTO d.t VALUES (3), (4)');
    await source.sql('FLUSH BINARY LOGS');
    await source.sql('SET GLOBAL aria_encrypt_tables=ON');
    await createTable(source, name);
    const position = await source.sql('SHOW MASTER STATUS');
    await replica.sql("CHANGE MASTER TO MASTER_LOG_FILE='binlog.000002', MASTER_LOG_POS=4");
    await replica.sql('START SLAVE');
    await replica.sql(`SELECT MASTER_POS_WAIT('${position[0]?.['File']}', ${position[0]?.['Position']}, 30)`);
    await replica.stop();
    await source.stop();
    const keep = (server: ScratchServer, log: string, as: string): void => {
      const vector = join(VECTORS, 'logs', `${as}-${name}`);
      copyFileSync(join(server.datadir, log), vector);
      chmodSync(vector, 0o644);
    };
    keep(source, 'binlog.000002', 'checksums');
    keep(source, 'binlog.000003', 'no-checksums');
    for (const ending of ['MAI', 'MAD']) {
      const bytes = readFileSync(join(source.datadir, `d/a.${ending}`));
      writeFileSync(join(VECTORS, 'aria', `${name}.${ending}.gz`), gzipSync(bytes, { level: 9 }));
    }
    keep(replica, 'relay.000002', 'relay-checksums');
    keep(replica, 'relay.000004', 'relay-no-checksums');
  } finally {
    await source.kill();
    await replica.kill();
  }
}

/** A table of each kind: with transactions under CBC, without under CTR. */
async function createTable(server: ScratchServer, name: string): Promise<void> {
  const transactional = name === 'cbc' ? 1 : 0;
  await server.sql(
    `CREATE TABLE d.a (i INT PRIMARY KEY, s VARCHAR(20), b BLOB) ENGINE=Aria TRANSACTIONAL=${transactional}`,
  );
  await server.sql("INSERT INTO d.a VALUES (1, 'short', 'x'), (2, 'long', REPEAT('b', 9000)), (3, 'deleted', 'x')");
  await server.sql('DELETE FROM d.a WHERE i = 3');
}

try {
  for (const folder of ['logs', 'aria']) mkdirSync(join(VECTORS, folder), { recursive: true });
  writeFileSync(keyFile, `1;${Buffer.alloc(16, 1).toString('hex')}\n`);
  await installDatabase(template);
  for (const [name, algorithm] of Object.entries(ALGORITHMS)) await record(name, algorithm);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
