import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { nodeDataFiles } from '../../../src/data/data-files.ts';
import { parseServerAnswer } from '../../../src/server/server-answer.ts';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
import { newPatient, type Patient, plainFiles } from './patient.ts';

const VECTORS = new Map(dataFileVectors().map((vector) => [vector.vector, vector]));

/** A file that a real server wrote, in the data directory of the patient or elsewhere. */
function put(patient: Patient, name: string, path = `data/${VECTORS.get(name)?.name}`): void {
  const vector = VECTORS.get(name);
  if (vector === undefined) throw new Error(`no vector ${name}`);
  patient.write(path, vector.bytes);
  if (vector.data !== undefined) patient.write(path.replace(/\.MAI$/, '.MAD'), vector.data);
}

it('the keys that the data needs are there', async () => {
  const patient = await newPatient({ keys: ['1.1', '5.1'] });
  put(patient, 'redo-encrypted');
  put(patient, 'table-key-5');
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines).toContain('ok       data: 2 data files looked at: encrypted with 2 keys, whose files are there');
});

it('the key files are gone, and the data is encrypted', async () => {
  const patient = await newPatient({ keys: [] });
  put(patient, 'redo-encrypted');
  put(patient, 'table-key-5');
  put(patient, 'aria-encrypted-version-2');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  data: key 1 version 1 is not among the key files, and ib_logfile0 is encrypted with it; likewise key 1 version 2 (d/a2.MAI), key 5 (d/t.ibd)
             do not use innodb_force_recovery; if another key management plugin encrypted this data, bring its keys in: mariadb-aws-kms import --help; if not, copy the key files from where this data came from, or from a backup of them:
             install -o mysql -g mysql -m 0600 BACKUP/aws-kms-key.* ROOT/data/
    exit 1"
  `);
});

it('the newest version of a key is missing', async () => {
  const patient = await newPatient({ keys: ['1.1'] });
  patient.write('data/binlog.index', './binlog.000001\n./binlog.000002\n');
  put(patient, 'binlog-encrypted');
  put(patient, 'binlog-encrypted-version-2');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  data: key 1 version 2 is not among the key files, and binlog.000002 is encrypted with it
             do not use innodb_force_recovery; copy the key files from where this data came from, or from a backup of them:
             install -o mysql -g mysql -m 0600 BACKUP/aws-kms-key.* ROOT/data/
    exit 1"
  `);
});

it('keyfile_dir points at an empty directory, and the keys are in the data directory', async () => {
  const patient = await newPatient({ keys: ['1.1'] });
  put(patient, 'redo-encrypted');
  patient.write('keys/x', '');
  rmSync(join(patient.root, 'keys/x'));
  patient.alsoSet = { aws_key_management_keyfile_dir: join(patient.root, 'keys') };
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  data: key 1 version 1 is not among the key files, and ib_logfile0 is encrypted with it
             install -o mysql -g mysql -m 0600 ROOT/data/aws-kms-key.* ROOT/keys/
    warning  backup: ROOT/keys is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --to DIRECTORY
    exit 1"
  `);
});

it('the data is where options say, outside of the data directory', async () => {
  const patient = await newPatient({ keys: ['1.1'] });
  put(patient, 'table-key-5', 'outside/d/t.ibd');
  patient.write('data/d/t.isl', join(patient.root, 'outside/d/t.ibd'));
  put(patient, 'binlog-encrypted-version-2', 'logs/b.000002');
  patient.write('logs/b.index', `${patient.root}/logs/b.000002\n`);
  patient.alsoSet = { log_bin: join(patient.root, 'logs/b') };
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  data: key 1 version 2 is not among the key files, and ROOT/logs/b.000002 is encrypted with it; likewise key 5 (ROOT/outside/d/t.ibd)
             do not use innodb_force_recovery; copy the key files from where this data came from, or from a backup of them:
             install -o mysql -g mysql -m 0600 BACKUP/aws-kms-key.* ROOT/data/
    exit 1"
  `);
});

it('the server may start without keys that are missing', async () => {
  const patient = await newPatient({ options: { aws_key_management_allow_missing_keys: 'ON' }, keys: ['1.1'] });
  put(patient, 'table-key-5');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  data: key 5 is not among the key files, and d/t.ibd is encrypted with it
             do not use innodb_force_recovery; copy the key files from where this data came from, or from a backup of them:
             install -o mysql -g mysql -m 0600 BACKUP/aws-kms-key.* ROOT/data/
    exit 0"
  `);
});

it('a table outside of the data directory cannot be looked at', async () => {
  const patient = await newPatient({ keys: [] });
  patient.write('data/d/t.isl', '/nowhere/d/t.ibd');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  data: d/t.isl cannot be looked at (the file that it names: ENOENT): no new key is made, as it may be encrypted with one
             bring it back or make it readable for mysql, or move it away if nothing of this server is in it
    exit 1"
  `);
  patient.makeKey('1.1');
  expect((await patient.examine()).exit).toBe(0);
});

it("the key files are another server's", async () => {
  const patient = await newPatient({ keys: ['9.1', '9.2'], request: { deep: true } });
  put(patient, 'pages-version-2');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  unwrap: key 9 version 2 is among the key files, and d/newer.ibd is encrypted with another key of this number
             do not use innodb_force_recovery; move the files aws-kms-key.* away from ROOT/data and keep them, and copy those from where this data came from:
             install -o mysql -g mysql -m 0600 BACKUP/aws-kms-key.* ROOT/data/
    exit 1"
  `);
});

it('the keys are in the directory of a separate agent', async () => {
  const patient = await newPatient({ options: { aws_key_management_agent: 'unix:/nowhere/agent.sock' }, keys: [] });
  put(patient, 'redo-encrypted');
  const { lines } = await patient.examine();
  expect(lines).toContain(
    'skipped  key-directory: the keys are in the directory of the agent: give it with --keyfile-dir',
  );
  expect(lines).toContain('skipped  data: the key files were not listed: see key-directory');
});

it('nothing loads the plugin, and the data is encrypted', async () => {
  const patient = await newPatient({ options: { plugin_load_add: undefined } });
  put(patient, 'redo-encrypted');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  activation: no option and no INSTALL SONAME loads the plugin: the server starts without keys
             in /etc/my.cnf, section [mariadb]: plugin_load_add = aws_key_management
    failure  data: ib_logfile0 is encrypted with key 1, and the server loads no plugin that has keys
             in /etc/my.cnf, section [mariadb]: plugin_load_add = aws_key_management
    exit 1"
  `);
});

it('a later plugin_load undoes plugin_load_add', async () => {
  const patient = await newPatient({
    options: { plugin_load: 'auth_socket' },
    programs: {
      'mariadbd --help': {
        code: 7,
        stderr: "2026-11-29 21:59:45 0 [ERROR] mariadbd: unknown variable 'aws_key_management=FORCE_PLUS_PERMANENT'\n",
      },
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  server-options: mariadbd refuses its options: unknown variable 'aws_key_management=FORCE_PLUS_PERMANENT'
             correct or remove the option; nothing else is tried before
    failure  activation: plugin_load = auth_socket comes later and undoes plugin_load_add = aws_key_management: the plugin is not loaded
             plugin_load_add = auth_socket, in the place of plugin_load
    exit 1"
  `);
});

it("the plugin's name is misspelt", async () => {
  const patient = await newPatient({ options: { plugin_load_add: 'aws_key_managment' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  activation: no plugin has the name of "aws_key_managment": the plugin is aws_key_management, and is not loaded
             in /etc/my.cnf, section [mariadb]: plugin_load_add = aws_key_management
    exit 1"
  `);
});

it('mariadbd refuses an option that has nothing to do with the plugin', async () => {
  const stderr =
    "2026-11-29 21:59:44 0 [Warning] Could not increase number of max_open_files to more than 20000 (request: 32184)\n2026-11-29 21:59:44 0 [ERROR] mariadbd: unknown variable 'innodb_encrypt_tabels=ON'\n";
  const patient = await newPatient({ programs: { 'mariadbd --help': { code: 7, stderr } } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  server-options: mariadbd refuses its options: unknown variable 'innodb_encrypt_tabels=ON'
             correct or remove the option; nothing else is tried before
    exit 1"
  `);
});

it('mariadbd disables a plugin whose value it does not understand', async () => {
  const stderr =
    "2026-11-29 21:59:49 0 [ERROR] mariadbd: Error while setting value 'MAYBE' to 'innodb-encrypt-tables'\n2026-11-29 21:59:49 0 [ERROR] Parsing options for plugin 'InnoDB' failed. Disabling plugin\n";
  const patient = await newPatient({ programs: { 'mariadbd --help': { stderr } } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  server-options: mariadbd does not understand a value: Error while setting value 'MAYBE' to 'innodb-encrypt-tables'; Parsing options for plugin 'InnoDB' failed. Disabling plugin
             correct it in the option file
    failure  activation: aws_key_management.so is not loaded: Error while setting value 'MAYBE' to 'innodb-encrypt-tables'
             in /etc/my.cnf, section [mariadb]: plugin_load_add = aws_key_management
    exit 1"
  `);
});

it('the server skips option files', async () => {
  const patient = await newPatient();
  patient.write('etc/my.cnf', `[client]\n!includedir ${patient.root}/etc/conf.d\n`, 0o644);
  patient.write('etc/conf.d/secret.cnf', '[mariadb]\n', 0o600);
  patient.write('etc/conf.d/open.cnf', '[mariadb]\n', 0o666);
  patient.write('etc/conf.d/notes.txt', '', 0o666);
  chmodSync(join(patient.root, 'etc/conf.d'), 0o755);
  chmodSync(join(patient.root, 'etc'), 0o755);
  patient.strangers = [join(patient.root, 'etc/conf.d/secret.cnf')];
  const { problems } = await patient.examine({ defaults: `--defaults-file=${patient.root}/etc/my.cnf` });
  expect(problems).toMatchInlineSnapshot(`
    "failure  option-files: everybody may write ROOT/etc/conf.d/open.cnf (mode 0666, owner mysql:mysql): the server ignores the options in it
             chmod o-w ROOT/etc/conf.d/open.cnf
    failure  option-files: mysql may not read ROOT/etc/conf.d/secret.cnf (mode 0600, owner root:0): the server starts without the options in it
             chgrp 777 ROOT/etc/conf.d/secret.cnf && chmod g+r ROOT/etc/conf.d/secret.cnf
    exit 1"
  `);
});

it("only errors of mariadbd's output count, or all of it when there is no log", () => {
  const refused = parseServerAnswer(
    1,
    '',
    'Could not open required defaults file: /x\nFatal error in defaults handling. Program aborted\n',
  );
  expect(refused).toMatchObject({ isRefused: true, errors: ['Could not open required defaults file: /x'] });
  const stdout = `x\n${'-'.repeat(60)} ${'-'.repeat(13)}\nlog-bin-index  (No default value)\ndatadir   /data/\n\nTo see\n`;
  const taken = parseServerAnswer(0, stdout, '[Warning] Could not open mysql.plugin table: x\n');
  expect(taken).toMatchObject({ isRefused: false, errors: [], knowsInstalled: false });
  expect([...taken.variables]).toEqual([
    ['log_bin_index', ''],
    ['datadir', '/data/'],
  ]);
});

it('a table stays in the clear by its own definition although the settings encrypt tables', async () => {
  const patient = await newPatient();
  put(patient, 'table-encrypted-no', 'data/shop/plain.ibd');
  put(patient, 'table-of-the-server-clear');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  encryption-settings: ENCRYPTED=NO in their definition, and so in the clear: shop/plain.ibd
             mariadb -e 'ALTER TABLE shop.plain ENCRYPTED=DEFAULT'
    exit 0"
  `);
});

it('a table with ENCRYPTED=NO is no finding where the settings encrypt no table', async () => {
  const patient = await newPatient({ options: { innodb_encrypt_tables: 'OFF' } });
  put(patient, 'table-encrypted-no', 'data/shop/plain.ibd');
  expect((await patient.examine()).problems).not.toContain('ENCRYPTED=NO');
});

it('mariadbd --help cannot read the list of plugins in an encrypted Aria table: no problem of the server', async () => {
  const stderr = '2026-11-30  8:31:02 0 [ERROR] mariadbd: Initialization of encryption failed for ./mysql/plugin.MAD\n';
  expect(parseServerAnswer(0, '', stderr)).toMatchObject({ errors: [], knowsInstalled: false });
  const second =
    '2026-11-30 10:05:18 0 [ERROR] Could not open mysql.plugin table: "Initialization of encryption failed for ./mysql/plugin.MAD". Some plugins may be not loaded\n';
  expect(parseServerAnswer(0, '', stderr + second)).toMatchObject({ errors: [], knowsInstalled: false });
  const other = stderr.replace('mysql/plugin', 'shop/t');
  expect(parseServerAnswer(0, '', other).errors).toHaveLength(1);
});

it('whoever runs this may not look at data that the server perhaps may', async () => {
  const refuse = (path: string): never => {
    throw Object.assign(new Error(`EACCES: permission denied, scandir '${path}'`), { code: 'EACCES' });
  };
  const patient = await newPatient({
    keys: [],
    options: { user: 'mysql' },
    surroundings: { uid: 4321, files: { ...plainFiles, data: { ...nodeDataFiles, list: refuse } } },
  });
  const { findings } = await patient.examine();
  expect(findings.filter(({ check }) => check === 'data')).toMatchObject([
    {
      status: 'failure',
      found: expect.stringMatching(/^whoever runs this may not look at .*, and the server perhaps may$/),
      fix: 'run this as root or as mysql',
    },
  ]);
});
