import { expect, it } from 'vitest';
import { findingsJson, formatFindings } from '../../../src/doctor/format.ts';
import { CHECKS } from '../../../src/finding.ts';
import { newPatient } from './patient.ts';

it('the doctor finds nothing wrong with a healthy server, and reports what it saw', async () => {
  const patient = await newPatient();
  const { lines, exit, findings } = await patient.examine();
  expect(lines).toMatchInlineSnapshot(`
    [
      "ok       option-files: 17 server options in /etc/my.cnf",
      "ok       plugin-library: ROOT/plugins/aws_key_management.so (x64)",
      "ok       agent: ROOT/plugins/aws_key_management_agent, release 0.1.0",
      "ok       server-version: MariaDB 10.11.19, plugin_maturity not set: admits the plugin, which is stable",
      "ok       server-options: mariadbd takes its 17 options, as mysql, and loads the plugin",
      "ok       activation: aws_key_management = FORCE_PLUS_PERMANENT: no start without the keys",
      "ok       key-directory: ROOT/data, the data directory: mode 0750, owner mysql:mysql, hard links work",
      "ok       key-files: 2 keys, 3 versions, none missing",
      "ok       data: 0 data files looked at: none is encrypted on disk so far",
      "ok       sql-files: SQL users with the FILE privilege reach ROOT/system only",
      "ok       credentials: arn:aws:iam::111122223333:user/mariadb, from the shared credentials file, without expiry",
      "ok       clock: within a minute of the service",
      "ok       endpoint: Region us-east-1, endpoint KMS: KMS answers",
      "ok       master-key: alias/mariadb-encryption is MASTER-KEY: Enabled, SYMMETRIC_DEFAULT, no automatic rotation",
      "ok       last-use: MASTER-KEY: last used in us-east-1 within a day (GenerateDataKeyWithoutPlaintext)",
      "ok       permissions: may GenerateDataKeyWithoutPlaintext with MASTER-KEY",
      "ok       permissions: may Decrypt with MASTER-KEY",
      "ok       surplus-permissions: none of GenerateDataKey, Encrypt, ReEncrypt, CreateGrant is allowed",
      "ok       surplus-permissions: the key policy, which the server need not read, gives it no administration; IAM policies may, and are not seen from here. An administrator can ask",
      "         aws iam simulate-principal-policy --policy-source-arn arn:aws:iam::111122223333:user/mariadb --resource-arns MASTER-KEY --action-names kms:ScheduleKeyDeletion kms:DisableKey kms:DeleteImportedKeyMaterial kms:PutKeyPolicy kms:CreateGrant --query 'EvaluationResults[].[EvalActionName,EvalDecision]'",
      "ok       confinement: neither systemd nor SELinux nor AppArmor is in the way",
      "ok       encryption-settings: the settings encrypt tables, logs and temporary files, but not the log of Aria (aria_log.*); rotations re-encrypt pages that are more than 1 key version old",
      "ok       backup: the keys are in the data directory: mariadb-backup copies them",
      "ok       start-timeout: start_timeout 60 s, TimeoutStartSec of mariadb.service 15min",
      "skipped  service: systemd has no unit of the server here",
      "skipped  replicas: the master key is in one Region only, and no failover is set",
      "skipped  unwrap: not asked for: one Decrypt per key version",
      "",
      "0 failures, 0 warnings, 23 ok, 3 skipped: nothing found that stops the server; not looked at: unwrap",
    ]
  `);
  expect(exit).toBe(0);
  // Every check reports something, in the order of the list.
  const checks = findings.map(({ check }) => check);
  expect([...new Set(checks)]).toEqual([...CHECKS]);
  expect(patient.kms.calls.list().filter(({ operation }) => operation === 'Decrypt')).toMatchObject([{ dryRun: true }]);
});

it('the doctor unwraps every version unless --no-unwrap is given', async () => {
  const patient = await newPatient({ request: { deep: true } });
  const { lines, exit } = await patient.examine();
  expect(lines).toContain('ok       unwrap: 3 of 3 key versions unwrap');
  expect(exit).toBe(0);
});

it('the doctor counts versions of AES_CTR, and asks whether more of them may be created', async () => {
  const patient = await newPatient({
    options: { aws_key_management_encryption_algorithm: 'aes_ctr' },
    request: { deep: true },
  });
  patient.makeKey('1.3', undefined, {}, 'AES_CTR');
  const { lines, exit } = await patient.examine();
  expect(lines).toContain('ok       key-files: 2 keys, 4 versions (1 of AES_CTR), none missing');
  expect(lines).toContain(
    'ok       permissions: may GenerateDataKeyWithoutPlaintext with MASTER-KEY, encryption context of 3 pairs',
  );
  expect(lines).toContain('ok       permissions: may Decrypt with MASTER-KEY, encryption context of 3 pairs');
  expect(lines).toContain('ok       unwrap: 4 of 4 key versions unwrap');
  expect(exit).toBe(0);
});

it('the doctor prints JSON with the same findings, in the order of the checks', async () => {
  const { findings } = await (await newPatient({ options: { encrypt_tmp_files: '0' } })).examine();
  const json: unknown = JSON.parse(findingsJson(findings));
  expect(json).toEqual(findings);
  expect(findings.find(({ status }) => status === 'warning')).toEqual({
    check: 'encryption-settings',
    status: 'warning',
    found: 'encrypt_tmp_files is OFF: in the clear stay temporary files of sorts and of the binary log cache',
    fix: 'in /etc/my.cnf, section [mariadb]: encrypt_tmp_files = ON',
  });
});

it('the doctor uses colours only when told to, and prints no control characters', () => {
  const findings = [{ check: 'agent', status: 'failure', found: 'a\u001b[31mb\nc' } as const];
  expect(formatFindings(findings, false)[0]).toBe('failure  agent: a [31mb c');
  expect(formatFindings(findings, true)[0]).toBe('\u001b[31mfailure  \u001b[39magent: a [31mb c');
});

it('the doctor wraps long lines between words on a terminal, but no command', () => {
  const found = 'there is no /usr/lib/mysql/plugin/aws_key_management.so here';
  const fix =
    'install -m 0644 aws_key_management.so /usr/lib/mysql/plugin/ && install -m 0755 aws_key_management_agent /usr/lib/mysql/plugin/';
  const findings = [{ check: 'plugin-library', status: 'failure', found, fix } as const];
  expect(formatFindings(findings, false, 40).slice(0, -2)).toEqual([
    'failure  plugin-library: there is no',
    '         /usr/lib/mysql/plugin/aws_key_management.so',
    '         here',
    `         ${fix}`,
  ]);
  expect(formatFindings(findings, false, 200)[0]).toBe(`failure  plugin-library: ${found}`);
});
