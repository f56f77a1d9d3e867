/** Fixes that would break a working server: each finding must name the real cause. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { newPatient, type Patient, type Transcript } from './patient.ts';

function of({ findings }: Transcript, check: string): string[] {
  return findings.filter((each) => each.check === check).map(({ status, found, fix }) => `${status}: ${found}; ${fix}`);
}

/** A key whose sidecar names a master key in another Region. */
function wrapElsewhere(patient: Patient, key: string): void {
  patient.makeKey(key);
  const path = `data/aws-kms-key.${key}.json`;
  const text = readFileSync(join(patient.root, path), 'utf8');
  patient.write(path, text.replace('kms:us-east-1:', 'kms:eu-west-1:'), 0o600);
}

it('a single key of another Region does not make the doctor suggest that Region', async () => {
  const patient = await newPatient();
  wrapElsewhere(patient, '7.1');
  const [report, ...more] = of(await patient.examine(), 'endpoint');
  expect(more).toEqual([]);
  expect(report).toBe(
    "failure: key 7 version 1 in eu-west-1: wrapped in another Region than us-east-1, which the server asks, and the other 3 are not; no one Region opens them all: restore aws-kms-key.7.1 and the .json beside it from a backup of this server's keys",
  );
});

it('keys that are all in one other Region make the doctor suggest it', async () => {
  const patient = await newPatient({ keys: [] });
  for (const key of ['1.1', '2.1']) wrapElsewhere(patient, key);
  expect(of(await patient.examine(), 'endpoint')).toEqual([
    'failure: 2 stored key versions are wrapped in eu-west-1, the server asks us-east-1; in /etc/my.cnf, section [mariadb]: aws_key_management_region = eu-west-1',
  ]);
});

it('the fix for secure_file_priv first creates its directory', async () => {
  const patient = await newPatient({ options: { secure_file_priv: undefined } });
  const [report] = (await patient.examine()).findings.filter(({ check }) => check === 'sql-files');
  expect(report).toMatchObject({
    status: 'warning',
    found: `secure_file_priv is not set: SQL users with the FILE privilege can write key files into ${patient.data}, and so stop the next start`,
    fix: `install -d -o mysql -g mysql -m 0750 ${patient.data}-files\nin /etc/my.cnf, section [mariadb]: secure_file_priv = ${patient.data}-files`,
  });
});

it('a secure_file_priv that is missing, or contains the keys, is named', async () => {
  const gone = await newPatient({ options: { secure_file_priv: '/nonexistent/files' } });
  expect(of(await gone.examine(), 'sql-files')).toEqual([
    'failure: secure_file_priv is /nonexistent/files, which is no directory: the server does not start; install -d -o mysql -g mysql -m 0750 /nonexistent/files',
  ]);
  const patient = await newPatient();
  patient.alsoSet = { secure_file_priv: patient.root };
  expect(of(await patient.examine(), 'sql-files')[0]).toMatch(/^warning: the key files are below secure_file_priv/);
});

it('options in a group that the server does not read are named with their file and group', async () => {
  const patient = await newPatient();
  patient.write('etc/my.cnf', `[mariadb]\nuser=mysql\n!includedir ${join(patient.root, 'etc/conf.d')}\n`);
  patient.write(
    'etc/conf.d/a.cnf',
    '[mysql]\naws_key_management_region = eu-west-1\n[mariadb-10.11]\naws-key-management=ON\n',
  );
  patient.write('etc/conf.d/b.cnf', '[mariadb-10.6]\n# aws_key_management_x\nplugin_load_add = aws_key_management\n');
  patient.write('etc/conf.d/c.txt', '[client]\naws_key_management_region = eu-west-1\n');
  patient.request = { defaults: `--defaults-file=${join(patient.root, 'etc/my.cnf')}` };
  const root = patient.root;
  expect(of(await patient.examine(), 'option-files').slice(1)).toEqual([
    `warning: [mysql] in ${root}/etc/conf.d/a.cnf holds options of the plugin, and the server does not read that group; move them to the section [mariadb]`,
    `warning: [mariadb-10.6] in ${root}/etc/conf.d/b.cnf holds options of the plugin, and the server does not read that group; move them to the section [mariadb]`,
  ]);
});

it("an ordinary user is told to become root, not to change the files' owner", async () => {
  const patient = await newPatient({ surroundings: { uid: 4242 } });
  patient.hidden = [patient.data];
  const { findings } = await patient.examine();
  const fixes = findings.flatMap(({ status, fix }) => (status === 'failure' || status === 'warning' ? [fix] : []));
  expect(fixes).toContain('run this as root: sudo mariadb-aws-kms doctor');
  expect(fixes.filter((fix) => fix?.includes('chown'))).toEqual([]);
});

it('a binary log in InnoDB is never reported as encrypted', async () => {
  const patient = await newPatient({ options: { binlog_storage_engine: 'innodb', encrypt_binlog: 'ON' } });
  expect(of(await patient.examine(), 'encryption-settings')).toEqual([
    'warning: binlog_storage_engine is InnoDB: nothing encrypts such binary logs, with every statement, whatever encrypt_binlog says; remove binlog_storage_engine, or keep the binary logs on an encrypted file system',
  ]);
});
