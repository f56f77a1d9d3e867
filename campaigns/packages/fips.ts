/** A server whose OpenSSL has approved algorithms alone, by the FIPS provider of the release. */
import { rotate } from './configured.ts';
import { expectSame, expectThat, type Machine } from './machine.ts';
import { expectEncrypted } from './proof.ts';

/** Debian's package of the provider, which a clean root lacks. */
export const FIPS_PROVIDER = 'openssl-provider-fips';
const OPENSSL = '/etc/ssl/openssl.cnf';
const MODULE = '/etc/ssl/fipsmodule.cnf';
/** Without the default provider, as fips_module(7ssl) has it for all programs of a machine. */
const APPROVED_ALONE = `config_diagnostics = 1
openssl_conf = openssl_init
.include ${MODULE}
[openssl_init]
providers = provider_sect
alg_section = algorithm_sect
[provider_sect]
fips = fips_sect
base = base_sect
[base_sect]
activate = 1
[algorithm_sect]
default_properties = fips=yes
`;
const ENCRYPT = `[mariadb]
innodb_encrypt_tables = ON
innodb_encrypt_log = ON
innodb_encrypt_temporary_tables = ON
innodb_encryption_threads = 2
innodb_default_encryption_key_id = 3
aria_encrypt_tables = ON
encrypt_tmp_files = ON
log_bin = bin
encrypt_binlog = ON
`;
const KEPT = '/etc/mysql/mariadb.conf.d/zz-kept.cnf';
/** MariaDB's function returns something else if OpenSSL refuses MD5. */
const MD5_OF_A = '0cc175b9c0f1b6a831c399e269772661';
const TEXT = 'a text that no page may show';
const TABLES = ['d.cbc', 'd.ctr', 'd.aria'];

/** Data of both algorithms is written with kept contexts under the provider; read without them, and without the provider. */
export async function fips(machine: Machine, deb: string): Promise<string> {
  const before = machine.read(OPENSSL).toString();
  await machine.run(`
    apt-get install -y ${FIPS_PROVIDER} ${machine.bring(deb)}
    openssl fipsinstall -module "$(openssl version -m | cut -d'"' -f2)/fips.so" -out ${MODULE}
    chmod 0644 ${MODULE}`);
  await machine.write(OPENSSL, APPROVED_ALONE);
  const providers = await machine.run('openssl list -providers');
  expectThat(/^ {2}fips$/m.test(providers) && !/^ {2}default$/m.test(providers), 'only approved', providers);
  const refused = await machine.session.try('openssl md5 /dev/null');
  expectThat(refused.status !== 0 && refused.output.includes('unsupported'), 'MD5 is refused', refused.output);

  await machine.run('mariadb-aws-kms init --embedded-kms');
  await machine.write('/etc/mysql/mariadb.conf.d/zz-encrypt.cnf', ENCRYPT);
  await machine.service('restart');
  expectSame(await encryption(machine), 'kept, provider', 'who encrypts');
  await machine.sql(`CREATE DATABASE d; USE d;
    CREATE TABLE cbc (i INT PRIMARY KEY, s TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=7;
    SET GLOBAL aws_key_management_encryption_algorithm = AES_CTR;
    CREATE TABLE ctr LIKE cbc; ALTER TABLE ctr ENCRYPTION_KEY_ID=8;
    CREATE TABLE aria (i INT PRIMARY KEY, s TEXT) ENGINE=Aria TRANSACTIONAL=1 ROW_FORMAT=PAGE`);
  const algorithms = await machine.sql(
    "SHOW GLOBAL STATUS LIKE 'Aws\\_key\\_management\\_key\\__\\_encryption_algorithm'",
  );
  for (const [id, algorithm] of [
    [7, 'AES_CBC'],
    [8, 'AES_CTR'],
  ] as const)
    expectThat(algorithms.includes(`key_${id}_encryption_algorithm\t${algorithm}`), `${id}: ${algorithm}`, algorithms);
  await fill(machine, 1);
  expectThat((await rotate(machine, 8)) === 2, 'the key of AES_CTR rotates');
  await machine.sql('SET GLOBAL aws_key_management_encryption_algorithm = AES_CBC');
  expectThat((await rotate(machine, 7)) === 2, 'the key of AES_CBC rotates');
  await fill(machine, 2001);
  const written = await contents(machine);

  await machine.service('restart');
  expectSame(await contents(machine), written, 'what is read after a restart');
  await machine.write(KEPT, '[mariadb]\naws_key_management_kept_contexts = OFF\n');
  await machine.service('restart');
  expectSame(await encryption(machine), 'not kept: switched off, provider', 'who encrypts');
  expectSame(await contents(machine), written, "what the server's functions read");
  await machine.run(`rm ${KEPT}`);
  await machine.write(OPENSSL, before);
  await machine.service('restart');
  expectSame(await encryption(machine), 'kept, no provider', 'who encrypts');
  expectSame(await contents(machine), written, 'what is read without the provider');
  await machine.service('stop');
  for (const table of ['d.cbc', 'd.ctr']) expectEncrypted(machine, table, TEXT);
  const [, version] = /^ {2}fips\n.*\n +version: (\S+)$/m.exec(providers) ?? [];
  return `provider ${version}; contexts kept; ${TABLES.join(', ')} read by both ways of encryption, with it and without`;
}

/** @returns whether contexts are kept, and whether the server has the provider, which refuses MD5 */
async function encryption(machine: Machine): Promise<string> {
  const [, contexts] = (await machine.sql("SHOW GLOBAL STATUS LIKE 'Aws_key_management_encryption_contexts'")).split(
    '\t',
  );
  const isMapped = (await machine.session.try('grep -q /fips.so /proc/$(pidof mariadbd)/maps')).status === 0;
  const isRefused = (await machine.sql("SELECT MD5('a')")) !== MD5_OF_A;
  expectSame(String(isRefused), String(isMapped), "the server's own answer about its provider");
  return `${contexts}, ${isMapped ? 'provider' : 'no provider'}`;
}

async function fill(machine: Machine, from: number): Promise<void> {
  for (const table of TABLES)
    await machine.sql(
      `USE d; INSERT INTO ${table} SELECT seq, CONCAT('${TEXT}', SHA2(seq, 256)) FROM seq_${from}_to_${from + 1999}`,
    );
}

/** @returns checksums of all rows, and that the binary logs and the tables' indexes can be read */
async function contents(machine: Machine): Promise<string> {
  const logs = (await machine.sql('SHOW BINARY LOGS')).split('\n').map((line) => line.split('\t')[0]);
  for (const log of logs) await machine.sql(`SHOW BINLOG EVENTS IN '${log}'`);
  const checks = await machine.sql(TABLES.map((table) => `CHECK TABLE ${table} EXTENDED;`).join(''));
  return `${checks}\n${await machine.sql(`CHECKSUM TABLE ${TABLES.join(', ')} EXTENDED`)}`;
}
