import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Finding } from '../../../src/finding.ts';
import { initBlock } from '../../../src/server/service/init-defaults.ts';
import { newPatient, plainFiles, runServer } from './patient.ts';

it('the option files cannot be read', async () => {
  const patient = await newPatient({
    programs: {
      my_print_defaults: { code: 2, stderr: 'Could not open required defaults file: /etc/my.cnf\nFatal error' },
    },
  });
  patient.pinToScratch();
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  option-files: my_print_defaults failed: Could not open required defaults file: /etc/my.cnf
             the server reads the same files and would stop at the same place: correct that file
    exit 1"
  `);
});

it('my_print_defaults is not installed', async () => {
  const patient = await newPatient({ programs: { my_print_defaults: undefined } });
  patient.pinToScratch();
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  option-files: my_print_defaults is not there to read the option files
             install it (Debian: mariadb-server-core; Red Hat: mariadb), or give flags with --no-defaults
    exit 1"
  `);
});

it('an option of the plugin is misspelt', async () => {
  const patient = await newPatient({
    options: { aws_key_management_regoin: 'eu-west-1', loose_aws_key_management_later: '1' },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  option-files: aws_key_management_regoin is no option of the plugin: the server would not start
             correct its name, or remove it
    exit 1"
  `);
});

it('settings are malformed', async () => {
  const patient = await newPatient({
    options: {
      aws_key_management_encryption_context: 'cluster',
      aws_key_management_key_spec: 'AES_192',
      aws_key_management_encryption_algorithm: 'AES_XTS',
      aws_key_management_start_timeout: 'soon',
      aws_key_management_failover_regions: 'eu-west-1=ftp://user:hunter2@kms.example.com',
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  option-files: aws_key_management_key_spec: expected AES_128 or AES_256
             correct it in the option file
    failure  option-files: aws_key_management_encryption_algorithm: expected AES_CBC or AES_CTR
             correct it in the option file
    failure  option-files: aws_key_management_start_timeout: expected seconds
             correct it in the option file
    failure  option-files: aws_key_management_encryption_context: "cluster" is no name=value pair
             write name=value pairs separated by commas, for example cluster=orders,environment=production
    failure  option-files: aws_key_management_failover_regions: expected a URL such as https://vpce-1234.kms.eu-central-1.vpce.amazonaws.com
             correct it in the option file
    exit 1"
  `);
});

it('the plugin is switched off', async () => {
  const patient = await newPatient({ options: { 'aws-key-management': 'OFF' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  activation: aws_key_management = OFF: the plugin is not started, encrypted tables cannot be read
             in /etc/my.cnf, section [mariadb]: aws_key_management = FORCE_PLUS_PERMANENT
    exit 1"
  `);
});

it('the plugin is not forced, and nothing loads it', async () => {
  const patient = await newPatient({ options: { 'aws-key-management': undefined, plugin_load_add: undefined } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  activation: no option and no INSTALL SONAME loads the plugin: the server starts without keys
             in /etc/my.cnf, section [mariadb]: plugin_load_add = aws_key_management
    exit 1"
  `);
});

it('another encryption plugin is loaded', async () => {
  const patient = await newPatient({ options: { plugin_load: 'file_key_management;aws_key_management;server_audit' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  activation: file_key_management is loaded too: a server has one encryption plugin
             remove file_key_management
    exit 1"
  `);
});

it('the server is too old', async () => {
  const patient = await newPatient({
    programs: { mariadbd: { stdout: 'mariadbd  Ver 10.6.21-MariaDB for Linux on x86_64' } },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  server-version: MariaDB 10.6.21 is older than 10.11, the oldest the plugin is tested with
             upgrade the server
    exit 0"
  `);
});

it('the user of the server does not exist', async () => {
  const patient = await newPatient({ options: { user: 'maria' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  option-files: user = maria: this machine has no such user
             useradd --system --user-group --home-dir /var/lib/mysql --shell /usr/sbin/nologin maria
    failure  credentials: no AWS credentials: CredentialsProviderError: Could not load credentials from any providers
             give the server an identity: an instance, task or pod role, or a file that AWS_SHARED_CREDENTIALS_FILE names in its unit (/etc/mariadb-aws-kms/credentials; the drop-in is /usr/share/mariadb-aws-kms/mariadb-aws-kms.conf)
    exit 1"
  `);
});

it('SELinux keeps the agent from AWS', async () => {
  const patient = await newPatient();
  patient.write('system/selinux/enforce', '1');
  patient.write('system/selinux/booleans/mysql_connect_any', '0 0');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  confinement: SELinux enforces, and mysql_connect_any is off: the agent cannot reach AWS
             setsebool -P mysql_connect_any 1
    exit 1"
  `);
});

it('SELinux keeps the agent from its keys', async () => {
  const patient = await newPatient({ programs: { stat: { stdout: 'unconfined_u:object_r:var_t:s0\n' } } });
  patient.write('system/selinux/enforce', '1');
  patient.write('system/selinux/booleans/mysql_connect_any', '1 1');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  confinement: SELinux enforces, and ROOT/data is var_t, not mysqld_db_t: no new keys can be stored
             semanage fcontext -a -t mysqld_db_t 'ROOT/data(/.*)?' && restorecon -Rv ROOT/data
    exit 0"
  `);
});

it('SELinux confines the server, and everything is allowed', async () => {
  const patient = await newPatient({ programs: { stat: { stdout: 'system_u:object_r:mysqld_db_t:s0\n' } } });
  patient.write('system/selinux/enforce', '1');
  patient.write('system/selinux/booleans/mysql_connect_any', '1 1');
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines).toContain('ok       confinement: SELinux enforces, and mysql_connect_any is on');
});

it("AppArmor's confinement of the server is unknown", async () => {
  const patient = await newPatient({
    surroundings: {
      files: {
        ...plainFiles,
        readFile: async (path) => {
          if (!path.endsWith('/profiles')) return await plainFiles.readFile(path);
          throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
        },
      },
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  confinement: ROOT/system/profiles cannot be read: AppArmor may confine the server
             run this as root
    exit 0"
  `);
});

it('a profile named for its program keeps the server from the agent', async () => {
  const patient = await newPatient();
  patient.write('system/profiles', 'mariadbd (enforce)\n');
  patient.write('system/apparmor.d/mariadbd', 'profile mariadbd /usr/sbin/mariadbd { }');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  confinement: AppArmor enforces mariadbd, which does not let the server start ROOT/plugins/aws_key_management_agent
             echo 'ROOT/plugins/aws_key_management_agent Ux,' >> ROOT/system/apparmor.d/local/mariadbd && apparmor_parser -r ROOT/system/apparmor.d/mariadbd
    exit 1"
  `);
  patient.write('system/apparmor.d/local/mariadbd', `${patient.plugins}/aws_key_management_agent Ux,`);
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines).toContain('ok       confinement: AppArmor enforces mariadbd, which knows the agent');
});

it('the rules that a package brings let the server start the agent that it brings', async () => {
  const patient = await newPatient();
  patient.write('system/profiles', 'mariadbd (enforce)\n');
  patient.write('system/apparmor.d/mariadbd', 'profile mariadbd /usr/sbin/mariadbd { }');
  const shipped = (name: string): string =>
    readFileSync(join(import.meta.dirname, '../../../packaging/apparmor', name), 'utf8');
  patient.write('system/shipped/mariadb-aws-kms-agent', shipped('mariadb-aws-kms-agent'));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  confinement: AppArmor enforces mariadbd, which does not let the server start ROOT/plugins/aws_key_management_agent
             install -m 0644 ROOT/system/shipped/mariadb-aws-kms-agent ROOT/system/apparmor.d/ && cat ROOT/system/shipped/local-mariadbd >> ROOT/system/apparmor.d/local/mariadbd && apparmor_parser -r ROOT/system/apparmor.d/mariadb-aws-kms-agent ROOT/system/apparmor.d/mariadbd; or use the agent as a service of its own
    exit 1"
  `);
  patient.write('system/apparmor.d/local/mariadbd', shipped('local-mariadbd').replaceAll(/^[^#].*/gm, ''));
  expect((await patient.examine()).problems).toContain('does not let the server start');
  patient.write('system/apparmor.d/local/mariadbd', shipped('local-mariadbd'));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  confinement: AppArmor enforces mariadbd, which starts the agent under the profile mariadb-aws-kms-agent; it is not loaded
             install -m 0644 ROOT/system/shipped/mariadb-aws-kms-agent ROOT/system/apparmor.d/ && apparmor_parser -r ROOT/system/apparmor.d/mariadb-aws-kms-agent
    exit 1"
  `);
  patient.write('system/apparmor.d/mariadb-aws-kms-agent', shipped('mariadb-aws-kms-agent'));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  confinement: AppArmor enforces mariadbd, which starts the agent under the profile mariadb-aws-kms-agent; it is not loaded
             apparmor_parser -r ROOT/system/apparmor.d/mariadb-aws-kms-agent
    exit 1"
  `);
  patient.write('system/profiles', 'mariadb-aws-kms-agent (enforce)\nmariadbd (enforce)\n');
  expect((await patient.examine()).problems).toBe('exit 0');
});

it('the rule for the socket of a separate agent does not let the server start an agent of its own', async () => {
  const patient = await newPatient();
  patient.write('system/profiles', 'mariadbd (enforce)\n');
  patient.write('system/apparmor.d/mariadbd', 'profile mariadbd /usr/sbin/mariadbd { }');
  patient.write('system/apparmor.d/local/mariadbd', '/run/mariadb-aws-kms/agent.sock rw,\n');
  expect((await patient.examine()).problems).toContain('does not let the server start');
});

it('AppArmor keeps the server from the agent', async () => {
  const patient = await newPatient();
  patient.write('system/profiles', 'man_filter (enforce)\n/usr/sbin/mariadbd (enforce)\n');
  patient.write('system/apparmor.d/usr.sbin.mariadbd', '/usr/sbin/mariadbd { }');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  confinement: AppArmor enforces usr.sbin.mariadbd, which does not let the server start ROOT/plugins/aws_key_management_agent
             echo 'ROOT/plugins/aws_key_management_agent Ux,' >> ROOT/system/apparmor.d/local/usr.sbin.mariadbd && apparmor_parser -r ROOT/system/apparmor.d/usr.sbin.mariadbd
    exit 1"
  `);
});

it('settings leave data unencrypted without an error', async () => {
  const patient = await newPatient({
    options: {
      innodb_encrypt_tables: 'OFF',
      innodb_encrypt_log: '0',
      skip_innodb_encrypt_temporary_tables: '',
      innodb_encrypt_temporary_tables: undefined,
      aria_encrypt_tables: undefined,
      encrypt_tmp_disk_tables: undefined,
      encrypt_tmp_files: undefined,
      encrypt_binlog: undefined,
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  encryption-settings: innodb_encrypt_tables is OFF: only tables created with ENCRYPTED=YES are encrypted; innodb_encryption_threads decrypts the others
             in /etc/my.cnf, section [mariadb]: innodb_encrypt_tables = ON
    warning  encryption-settings: innodb_encrypt_log is OFF: in the clear stay the redo log, with the data of every change
             in /etc/my.cnf, section [mariadb]: innodb_encrypt_log = ON
    warning  encryption-settings: innodb_encrypt_temporary_tables is OFF: in the clear stay InnoDB's temporary tables
             in /etc/my.cnf, section [mariadb]: innodb_encrypt_temporary_tables = ON
    warning  encryption-settings: aria_encrypt_tables is OFF: in the clear stay Aria tables
             in /etc/my.cnf, section [mariadb]: aria_encrypt_tables = ON
    warning  encryption-settings: encrypt_tmp_disk_tables is OFF: in the clear stay temporary tables of queries
             in /etc/my.cnf, section [mariadb]: encrypt_tmp_disk_tables = ON
    warning  encryption-settings: encrypt_tmp_files is OFF: in the clear stay temporary files of sorts and of the binary log cache
             in /etc/my.cnf, section [mariadb]: encrypt_tmp_files = ON
    warning  encryption-settings: encrypt_binlog is OFF: in the clear stay the binary logs, with every statement
             in /etc/my.cnf, section [mariadb]: encrypt_binlog = ON
    exit 0"
  `);
});

it('no thread encrypts, so old pages keep their key', async () => {
  const patient = await newPatient({
    options: {
      innodb_encryption_threads: undefined,
      innodb_encryption_rotate_key_age: '0',
      innodb_file_per_table: 'OFF',
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  encryption-settings: innodb_encryption_threads is 0: existing tables stay as they are, and no rotation re-encrypts any
             in /etc/my.cnf, section [mariadb]: innodb_encryption_threads = 1
    warning  encryption-settings: innodb_encryption_rotate_key_age is 0: pages keep the key version they were written with
             in /etc/my.cnf, section [mariadb]: innodb_encryption_rotate_key_age = 1
    warning  encryption-settings: innodb_file_per_table is OFF: tables in the system tablespace cannot be encrypted one by one
             in /etc/my.cnf, section [mariadb]: innodb_file_per_table = ON
    exit 0"
  `);
});

it('threads may do nothing, new tables have no key or no encryption, and logs are in the clear', async () => {
  const patient = await newPatient({
    options: {
      innodb_encryption_rotation_iops: '0',
      innodb_checksum_algorithm: 'crc32',
      innodb_default_encryption_key_id: '7',
      aws_key_management_key_ids: '1-2',
      default_storage_engine: 'MyISAM',
      general_log: '',
      slow_query_log: '1',
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  encryption-settings: innodb_encryption_rotation_iops is 0: the encryption threads encrypt nothing
             in /etc/my.cnf, section [mariadb]: innodb_encryption_rotation_iops = 100
    warning  encryption-settings: innodb_checksum_algorithm is crc32: in the clear stay spatial indexes of new tables
             in /etc/my.cnf, section [mariadb]: innodb_checksum_algorithm = full_crc32
    warning  encryption-settings: aws_key_management_key_ids does not allow key 7, innodb_default_encryption_key_id: no encrypted table can be created
             add 7 to the list
    warning  encryption-settings: default_storage_engine is MyISAM: only InnoDB and Aria encrypt their tables
             in /etc/my.cnf, section [mariadb]: default_storage_engine = InnoDB
    warning  encryption-settings: general_log is ON: nothing encrypts the general log, with every statement
             general_log = OFF, or keep its file where nobody else reads it
    warning  encryption-settings: slow_query_log is ON: nothing encrypts the slow query log, with statements
             slow_query_log = OFF, or keep its file where nobody else reads it
    exit 0"
  `);
});

it('the default key exists already, though it could not be created', async () => {
  const options = { innodb_default_encryption_key_id: '7', aws_key_management_key_ids: '1-2' };
  const patient = await newPatient({ options, keys: ['1.1', '7.1'] });
  expect((await patient.examine()).problems).toBe('exit 0');
});

it('the doctor tells which pages a rotation re-encrypts', async () => {
  const { lines } = await (await newPatient({ options: { innodb_encryption_rotate_key_age: '5' } })).examine();
  expect(lines).toContain(
    'ok       encryption-settings: the settings encrypt tables, logs and temporary files, but not the log of Aria (aria_log.*); rotations re-encrypt pages that are more than 5 key versions old',
  );
});

it('the doctor reports values that the server refuses, and accepts those that it accepts', async () => {
  const options = {
    aws_key_management_log_level: 'Loud',
    aws_key_management_watch_interval: 'often',
    innodb_default_encryption_key_id: '0',
  };
  expect((await (await newPatient({ options })).examine()).problems).toMatchInlineSnapshot(`
    "failure  option-files: aws_key_management_log_level: expected Off, Fatal, Error, Warn, Info, Debug, Trace
             correct it in the option file
    failure  option-files: aws_key_management_watch_interval: expected seconds
             correct it in the option file
    failure  encryption-settings: innodb_default_encryption_key_id: expected 1 to 4294967295
             in /etc/my.cnf, section [mariadb]: innodb_default_encryption_key_id = 1
    exit 1"
  `);
  const beyond = {
    aws_key_management_start_timeout: '7200',
    aws_key_management_watch_interval: '700000',
    aws_key_management_key_ids: '1,'.repeat(2100),
    aws_key_management_master_key_id: 'alias/a b',
  };
  const { lines } = await (await newPatient({ options: beyond })).examine();
  for (const line of [
    'warning  option-files: aws_key_management_start_timeout: the server takes 3600 instead of 7200',
    'warning  option-files: aws_key_management_watch_interval: the server takes 604800 instead of 700000',
    'failure  option-files: aws_key_management_key_ids: expected at most 4096 bytes',
    'failure  option-files: aws_key_management_master_key_id: expected a KMS key id, ARN or alias/name',
  ])
    expect(lines).toContain(line);
  const right = { aws_key_management_log_level: 'trace', aws_key_management_key_spec: 'aes_256' };
  expect((await (await newPatient({ options: right })).examine()).problems).toBe('exit 0');
});

it('rsync leaves the keys behind', async () => {
  const patient = await newPatient({ options: { wsrep_on: 'ON', wsrep_sst_method: 'rsync' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  backup: wsrep_sst_method = rsync leaves the keys behind: a node that joins would make other ones
             in /etc/my.cnf, section [mariadb]: wsrep_sst_method = mariabackup
    exit 0"
  `);
});

it("systemd's start timeout is shorter than the plugin's", async () => {
  const patient = await newPatient({
    programs: { systemctl: { stdout: 'LoadState=loaded\nTimeoutStartUSec=1min 15s\n' } },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  start-timeout: TimeoutStartSec of mariadb.service is 1min 15s, aws_key_management_start_timeout 60 s: systemd kills a server that waits for KMS
             systemctl edit mariadb: TimeoutStartSec=90
    exit 0"
  `);
});

it.each<[string, Parameters<typeof newPatient>[0], string]>([
  [
    'Failed to connect to bus',
    { programs: { systemctl: { code: 1, stderr: 'Failed to connect to bus: No such file\n' } } },
    'systemctl does not answer: Failed to connect to bus: No such file',
  ],
  ['no systemctl', { programs: { systemctl: undefined } }, 'there is no systemctl to ask'],
  [
    'no unit',
    { programs: { systemctl: { stdout: 'LoadState=not-found\nTimeoutStartUSec=15min\n' } } },
    'systemd has no mariadb.service to ask',
  ],
])('systemd tells no timeout: %s', async (_, options, found) => {
  const { findings } = await (await newPatient(options)).examine();
  expect(findings.find(({ check }) => check === 'start-timeout')).toEqual({
    check: 'start-timeout',
    status: 'skipped',
    found,
  });
});

it.each([
  ['', 30],
  ['MYSQLD_STARTUP_TIMEOUT=45\n', 45],
  ['export MYSQLD_STARTUP_TIMEOUT="90"\n', 90],
])("Debian's script waits as long as /etc/default/mariadb says: %j", async (defaults, waits) => {
  const patient = await newPatient();
  patient.write('system/init.d-mariadb', `for i in $(seq 1 "$${'{'}MYSQLD_STARTUP_TIMEOUT:-30}"); do\n`);
  patient.write('system/default-mariadb', defaults);
  const look = async (): Promise<Finding | undefined> =>
    (await patient.examine()).findings.find(({ check }) => check === 'start-timeout');
  const found = `start_timeout 60 s, MYSQLD_STARTUP_TIMEOUT of ${patient.system}/init.d-mariadb ${waits} s`;
  const first = await look();
  if (waits === 90) expect(first).toEqual({ check: 'start-timeout', status: 'ok', found });
  else {
    const later = `${found}: it may report a failure while the server still waits for KMS, and starts later`;
    expect(first).toMatchObject({ status: 'ok', found: later });
    execFileSync('sh', ['-c', first?.fix ?? 'false']);
    expect((await look())?.fix).toBeUndefined();
  }
});

it.each([
  ['runs', true],
  ['does not run', false],
])(
  "a server that Debian's script starts, and that %s, gets variables from that script's file",
  async (_, isRunning) => {
    const patient = await newPatient();
    // The unit is there as well, and starts nothing.
    patient.write('system/lib/mariadb.service', '[Service]\nUser=mysql\nEnvironment=AWS_PROFILE=units\n');
    patient.write('system/init.d-mariadb', '');
    const assignment = `AWS_SHARED_CREDENTIALS_FILE=${patient.credentials}`;
    patient.write('system/default-mariadb', initBlock('x', [['AWS_SHARED_CREDENTIALS_FILE', patient.credentials]]));
    const environment = `${assignment}\0`;
    if (isRunning) runServer(patient, environment);
    const { findings } = await patient.examine();
    expect(findings.filter(({ check }) => check === 'service')).toEqual([
      {
        check: 'service',
        status: 'ok',
        found: `${patient.system}/init.d-mariadb (${patient.system}/default-mariadb) gives the server AWS_SHARED_CREDENTIALS_FILE`,
      },
    ]);
  },
);

it('the running server has other variables than the script would give it now', async () => {
  const patient = await newPatient();
  patient.write('system/init.d-mariadb', '');
  patient.write('system/default-mariadb', initBlock('x', [['AWS_SHARED_CREDENTIALS_FILE', patient.credentials]]));
  runServer(patient, 'AWS_SHARED_CREDENTIALS_FILE=/hunter2\0');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  service: the running server (process 4711) was started with other variables than ROOT/system/init.d-mariadb (ROOT/system/default-mariadb) gives now: AWS_SHARED_CREDENTIALS_FILE
             ROOT/system/init.d-mariadb restart
    exit 0"
  `);
});

it('the running server has other variables than its unit has now', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', '[Service]\nUser=mysql\nEnvironment=AWS_MAX_ATTEMPTS=2\n');
  runServer(patient, 'PATH=/bin\0', '/system.slice/mariadb.service');
  const { problems } = await patient.examine();
  expect(problems).toMatchInlineSnapshot(`
    "warning  service: the running server (process 4711) was started with other variables than mariadb.service (ROOT/system/lib/mariadb.service) gives now: AWS_MAX_ATTEMPTS
             systemctl daemon-reload && systemctl restart mariadb.service
    exit 0"
  `);
  runServer(patient, 'AWS_MAX_ATTEMPTS=2\0', '/system.slice/mariadb.service');
  expect((await patient.examine()).problems).toBe('exit 0');
});

it('the doctor examines a server in mock mode', async () => {
  const patient = await newPatient({ options: { aws_key_management_mock: 'ON' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  encryption-settings: aws_key_management_mock is ON: the keys lie beside what they wrap
             in /etc/my.cnf, section [mariadb]: aws_key_management_mock = OFF
    exit 0"
  `);
});

it('the current user may not look at everything', async () => {
  const patient = await newPatient({ options: { user: 'mysql' }, surroundings: { uid: 4321 } });
  patient.hidden = [patient.data];
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: cannot look at the key directory ROOT/data: EACCES: permission denied, stat 'ROOT/data'
             run this as root or as mysql
    warning  option-files: whoever runs this is neither root nor mysql, and may see less than the server
             run this as root: sudo mariadb-aws-kms doctor
    exit 1"
  `);
});
