/** Asynchronous replication between servers that share neither keys nor KMS. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EVERYTHING_ENCRYPTED, type ScratchServer } from '../../harness/scratch-server.ts';
import { freePort } from '../support/free-port.ts';
import { startKms, startServer } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

const MARKER = 'the quick brown secret of customer 4711';

/** A server with a KMS, a master key and a key directory of its own. */
async function startNode(serverId: number) {
  const kms = await startKms();
  const keys = scratchDirectory();
  const port = await freePort();
  const server = await startServer(kms, {
    ...EVERYTHING_ENCRYPTED,
    aws_key_management_keyfile_dir: keys,
    server_id: serverId,
    relay_log: 'relay',
    log_slave_updates: 'ON',
    binlog_format: 'ROW',
    skip_networking: 0,
    bind_address: '127.0.0.1',
    port,
  });
  return { server, keys, port, kms };
}

async function catchUp(primary: ScratchServer, replica: ScratchServer): Promise<void> {
  const [{ position } = {}] = await primary.sql('SELECT @@gtid_binlog_pos AS position');
  const [{ reached } = {}] = await replica.sql(`SELECT MASTER_GTID_WAIT('${position}', 30) AS reached`);
  const [status] = await replica.sql('SHOW SLAVE STATUS');
  expect({ reached, error: status?.['Last_Error'], io: status?.['Last_IO_Error'] }).toEqual({
    reached: 0,
    error: '',
    io: '',
  });
}

function logsWith(server: ScratchServer, prefix: string): readonly string[] {
  return readdirSync(server.datadir)
    .filter((file) => new RegExp(`^${prefix}\\.\\d+$`).test(file))
    .filter((file) => readFileSync(join(server.datadir, file)).includes(MARKER));
}

it('rows arrive while both servers rotate and the replica restarts, through logs that no other server can read', async () => {
  const primary = await startNode(1);
  const replica = await startNode(2);
  const rotate = async (): Promise<void> => {
    for (const { server } of [primary, replica]) await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  };
  await primary.server.sql("CREATE USER replicator@'%' IDENTIFIED BY 'x'");
  await primary.server.sql("GRANT REPLICATION SLAVE ON *.* TO replicator@'%'");
  // The replica has its users already.
  const [{ position } = {}] = await primary.server.sql('SELECT @@gtid_binlog_pos AS position');
  await replica.server.sql(`SET GLOBAL gtid_slave_pos='${position}'`);
  await replica.server.sql(
    `CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${primary.port}, MASTER_USER='replicator', MASTER_PASSWORD='x', MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_USE_GTID=slave_pos`,
  );
  await replica.server.sql('START SLAVE');
  await primary.server.sql('CREATE DATABASE d');
  await primary.server.sql(
    'CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(100)) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
  );
  const insert = async (): Promise<void> => {
    await primary.server.sql(`INSERT INTO d.t (text) VALUES ${Array(100).fill(`('${MARKER}')`).join()}`);
    await primary.server.sql('UPDATE d.t SET text = CONCAT(text, id) WHERE id % 7 = 0');
  };

  await insert();
  await catchUp(primary.server, replica.server);
  await rotate();
  await replica.server.sql('STOP SLAVE SQL_THREAD');
  // These wait in the relay log while the replica restarts, and are the last of its old key version.
  await insert();
  await replica.server.restart();
  await rotate();
  await primary.server.sql('FLUSH BINARY LOGS');
  await insert();
  await catchUp(primary.server, replica.server);

  const checksum = 'CHECKSUM TABLE d.t EXTENDED';
  expect(await replica.server.sql(checksum)).toEqual(await primary.server.sql(checksum));
  expect(await replica.server.sql('SELECT COUNT(*) AS n FROM d.t')).toEqual([{ n: 300 }]);
  expect(readdirSync(replica.keys)).toContain('aws-kms-key.3.1');
  expect(readFileSync(join(primary.keys, 'aws-kms-key.3.1'))).not.toEqual(
    readFileSync(join(replica.keys, 'aws-kms-key.3.1')),
  );
  // One more, that stays in the replica's relay log.
  await replica.server.sql('STOP SLAVE SQL_THREAD');
  await insert();
  expect(logsWith(primary.server, 'binlog')).toEqual([]);
  expect(logsWith(replica.server, 'binlog')).toEqual([]);
  expect(logsWith(replica.server, 'relay')).toEqual([]);

  // The same search finds the rows in an unencrypted log, and the replica reads both kinds.
  primary.server.options = { ...primary.server.options, encrypt_binlog: 'OFF' };
  await primary.server.restart();
  await insert();
  expect(logsWith(primary.server, 'binlog')).toHaveLength(1);
  await replica.server.sql('STOP SLAVE');
  await replica.server.sql('START SLAVE');
  await catchUp(primary.server, replica.server);
  expect(await replica.server.sql(checksum)).toEqual(await primary.server.sql(checksum));
});
