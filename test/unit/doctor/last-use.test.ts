import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ALIAS, newPatient, type Patient } from './patient.ts';

const DAY_MS = 86_400_000;

async function lines(patient: Patient): Promise<readonly string[]> {
  const { lines: all, problems } = await patient.examine();
  expect(problems).toBe('exit 0');
  return all.filter((line) => /^\S+ +last-use:/.test(line));
}

function call(patient: Patient, operation: string, input: unknown, region = 'us-east-1'): unknown {
  return patient.kms.kms.call(region, { accessKeyId: '', denied: [] }, operation, input);
}

/** A multi-Region key behind the alias, with a replica that serves as a failover, and a stored key under it. */
function failOver(patient: Patient): string {
  const made = call(patient, 'CreateKey', { MultiRegion: true });
  const id = /mrk-[0-9a-f]+/.exec(JSON.stringify(made))?.[0] ?? '';
  call(patient, 'UpdateAlias', { AliasName: ALIAS, TargetKeyId: id });
  call(patient, 'ReplicateKey', { KeyId: id, ReplicaRegion: 'eu-west-1' });
  patient.alsoSet = { aws_key_management_failover_regions: `eu-west-1=${patient.kms.url}` };
  for (const name of ['1.1', '1.2', '2.1']) {
    rmSync(join(patient.data, `aws-kms-key.${name}`), { force: true });
    rmSync(join(patient.data, `aws-kms-key.${name}.json`), { force: true });
  }
  patient.makeKey('1.1', `arn:aws:kms:us-east-1:111122223333:key/${id}`);
  return id;
}

it("the last-use check reports the master key's last use in each Region", async () => {
  const patient = await newPatient();
  const id = failOver(patient);
  const today = new Date().toISOString().slice(0, 10);
  expect(await lines(patient)).toEqual([
    `ok       last-use: arn:aws:kms:us-east-1:111122223333:key/mrk-ID: last used in us-east-1 within a day (GenerateDataKeyWithoutPlaintext), in eu-west-1 never since ${today}`,
  ]);
  call(patient, 'Encrypt', { KeyId: id, Plaintext: Buffer.from('x') }, 'eu-west-1');
  expect((await lines(patient))[0]).toMatch(/, in eu-west-1 within a day \(Encrypt\)$/);
});

it('the last-use check counts whole days, as the condition of a policy does', async () => {
  const patient = await newPatient();
  const used = (ms: number): Promise<readonly string[]> => {
    patient.spoil = (inspector) => ({
      ...inspector,
      lastUse: async () => ({ operation: 'Decrypt', usedMs: Date.now() - ms, trackedSinceMs: 0 }),
    });
    return lines(patient);
  };
  expect((await used(DAY_MS - 60_000))[0]).toMatch(/in us-east-1 within a day \(Decrypt\)$/);
  expect((await used(2 * DAY_MS - 60_000))[0]).toMatch(/in us-east-1 1 day ago \(Decrypt\)$/);
  expect((await used(200 * DAY_MS))[0]).toMatch(/in us-east-1 200 days ago \(Decrypt\)$/);
  expect((await used(-60_000))[0]).toMatch(/in us-east-1 within a day \(Decrypt\)$/);
});

it('the last-use check includes earlier master keys', async () => {
  const patient = await newPatient();
  patient.makeKey('3.1', patient.kms.kms.ensureAlias('us-east-1', 'alias/older'));
  expect(await lines(patient)).toHaveLength(2);
});

it('the last-use check does not fail without permission, and names a policy that grants it', async () => {
  expect(await lines(await newPatient({ denied: ['GetKeyLastUsage'] }))).toEqual([
    'skipped  last-use: MASTER-KEY: kms:GetKeyLastUsage is not allowed, and not needed by the server; mariadb-aws-kms policy --with-describe prints a policy that allows it',
  ]);
});

it('the last-use check reports what it knows when one Region refuses, and why it knows nothing', async () => {
  const patient = await newPatient();
  failOver(patient);
  const fault = { operation: 'GetKeyLastUsage', kind: 'error', name: 'NotFoundException', status: 400, message: 'no' };
  patient.kms.faults.set([{ ...fault, kind: 'error', region: 'eu-west-1' }]);
  expect((await lines(patient))[0]).toMatch(
    /last used in us-east-1 within a day \(\w+\), in eu-west-1 unknown \(NotFoundException\)$/,
  );
  patient.kms.faults.set([{ ...fault, kind: 'error' }]);
  expect(await lines(patient)).toEqual([
    'skipped  last-use: arn:aws:kms:us-east-1:111122223333:key/mrk-ID: KMS does not say when it was last used (NotFoundException)',
  ]);
});

it('the last-use check warns when the watch is off', async () => {
  const patient = await newPatient({ options: { aws_key_management_watch_interval: '0' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  last-use: aws_key_management_watch_interval is 0: a server that runs neither sees what becomes of its master key nor uses it, and to AWS the key looks unused
             in /etc/my.cnf, section [mariadb]: aws_key_management_watch_interval = 3600
    exit 0"
  `);
  const other = await newPatient({ options: { aws_key_management_watch_interval: '60' } });
  expect((await other.examine()).problems).toBe('exit 0');
});

it('the last-use check is skipped in mock mode', async () => {
  const patient = await newPatient({
    options: { aws_key_management_mock: 'ON', aws_key_management_watch_interval: '0' },
  });
  const { lines: all } = await patient.examine();
  expect(all.filter((line) => line.includes('last-use:'))).toEqual(['skipped  last-use: mock mode: no AWS is used']);
});
