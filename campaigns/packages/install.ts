/** Installing on a running server, and the life of its keys after that: encrypt, rotate, back up, restore. */
import { keyFiles, latestVersion, rotate } from './configured.ts';
import { expectSame, expectThat, type Machine } from './machine.ts';
import { expectEncrypted, expectInClear } from './proof.ts';

const ROWS = 500;
const TEXT = 'a text that no page may show';

/** The server does not notice that the package is installed, once, again, and with its configuration untouched. */
export async function install(machine: Machine, deb: string): Promise<string> {
  await machine.sql('CREATE DATABASE d; CREATE TABLE d.t (i INT); INSERT INTO d.t VALUES (1)');
  const connection = await machine.connect();
  await connection.query("SET @here = 'open'");
  const files = await machine.idleServerFiles();
  const server = await machine.server();
  const flushes = await machine.sql("SHOW GLOBAL STATUS LIKE 'Flush_commands'");
  const place = machine.bring(deb);
  const said = await machine.run(`apt-get install -y ${place}`);
  expectSame(await machine.server(), server, 'the process of the server');
  expectSame(await machine.sql("SHOW GLOBAL STATUS LIKE 'Flush_commands'"), flushes, 'the count of reloads');
  expectSame(await machine.serverFiles(), files, 'the data and the configuration of the server');
  const session: readonly { readonly here: string }[] = await connection.query('SELECT @here AS here');
  expectThat(session[0]?.here === 'open', 'an open connection goes on');
  await connection.end();
  if (machine.systemd) {
    const agent = (await machine.session.try('systemctl is-enabled mariadb-aws-kms-agent')).stdout.trim();
    expectThat(agent === 'disabled', 'the separate agent is neither enabled nor started', agent);
    expectThat((await machine.session.try('systemctl is-active mariadb-aws-kms-agent')).status !== 0, 'nor started');
  }
  expectThat((await machine.session.try('pgrep -f aws_key_management_agent')).status !== 0, 'no agent runs', said);
  return `the server kept its process, its ${files.split('\n').length} files and its connections`;
}

/** `init`, an encrypted table, a rotation, a backup of data and keys, and a restore on a directory of its own. */
export async function life(machine: Machine, deb: string): Promise<string> {
  await machine.run(`apt-get install -y ${machine.bring(deb)}`);
  await machine.run('mariadb-aws-kms init --embedded-kms');
  await machine.sql(`CREATE DATABASE d; USE d;
    CREATE TABLE d.clear (i INT, s TEXT) ENCRYPTED=NO; INSERT INTO d.clear VALUES (1, '${TEXT}');
    CREATE TABLE d.t (i INT, s TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=7;
    INSERT INTO d.t SELECT seq, '${TEXT}' FROM seq_1_to_${ROWS}`);
  const [before, after] = [await latestVersion(machine, 7), await rotate(machine, 7)];
  expectThat(before === 1 && after === 2, 'the rotation makes version 2', `${before} → ${after}`);
  await machine.sql(`ALTER TABLE d.t FORCE`);
  await machine.run(`
    mkdir /backup
    mariadb-backup --backup --target-dir=/backup/data
    mariadb-aws-kms backup-keys --to /backup/keys
    mariadb-aws-kms verify-backup /backup/keys`);
  const keys = (await machine.sql('SELECT @@aws_key_management_keyfile_dir')).trim();
  const stored = await keyFiles(machine, keys);
  expectSame(await keyFiles(machine, '/backup/keys'), stored, 'the key files in the backup');
  await machine.sql(`DROP TABLE d.t`);
  await machine.run(`mariadb-backup --prepare --target-dir=/backup/data`);
  await machine.service('stop');
  await machine.run(`
    mv /var/lib/mysql /var/lib/mysql.lost
    install -d -m 0700 -o mysql -g mysql /var/lib/mysql
    find ${keys} -name 'aws-kms-key.*' -delete
    mariadb-backup --copy-back --target-dir=/backup/data
    chown -R mysql:mysql /var/lib/mysql
    install -m 0640 -o mysql -g mysql /backup/keys/aws-kms-key.* ${keys}`);
  expectInClear(machine, 'd.clear', TEXT);
  const versions = expectEncrypted(machine, 'd.t', TEXT);
  await machine.service('start');
  const rows = await machine.sql(`SELECT COUNT(*) FROM d.t WHERE s = '${TEXT}'`);
  expectThat(rows === String(ROWS), `all ${ROWS} rows are back`, rows);
  expectThat((await rotate(machine, 7)) === 3, 'the key rotates after the restore');
  const doctor = await machine.session.try('mariadb-aws-kms doctor');
  expectThat(doctor.status === 0, 'doctor finds nothing that is broken', doctor.output);
  return `${ROWS} rows restored; key versions in their pages: ${versions.join(', ')}; ${stored.split('\n').length - 1} files of keys`;
}
