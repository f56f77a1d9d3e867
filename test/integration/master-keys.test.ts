import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions, type ScratchServer, type ServerOptions } from '../../harness/scratch-server.ts';
import { systemClock } from '../../src/cli/system.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { newServer, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const caller = { accessKeyId: '', denied: [] };
const CONTEXT = { aws_key_management_encryption_context: 'cluster=orders,environment=production' };

async function withTable(server: ScratchServer, id = 3): Promise<void> {
  await server.sql('CREATE DATABASE IF NOT EXISTS d');
  await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
  await server.sql(`INSERT INTO d.t${id} VALUES (42)`);
}

function swap(server: ScratchServer, one: string, other: string): void {
  const path = (name: string): string => join(server.datadir, name);
  renameSync(path(one), path('swap'));
  renameSync(path(other), path(one));
  renameSync(path('swap'), path(other));
}

it('new keys are bound to the configured context and to their id and version, in CloudTrail and in the sidecar', async () => {
  const kms = await startKms();
  const server = await startServer(kms, CONTEXT);
  await withTable(server);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  const context = {
    cluster: 'orders',
    environment: 'production',
    'mariadb-aws-kms:key-id': '3',
    'mariadb-aws-kms:key-version': '2',
  };
  expect(kms.calls.list().at(-1)).toMatchObject({ operation: 'Decrypt', context });
  const sidecar: unknown = JSON.parse(readFileSync(join(server.datadir, 'aws-kms-key.3.2.json'), 'utf8'));
  expect(sidecar).toMatchObject({ encryptionContext: context, keyCheckValue: expect.stringMatching(/^[0-9a-f]{16}$/) });
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
});

it('a server loads keys made with another context or with none, those of the original plugin included', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await withTable(server, 3);
  await server.stop();
  server.options = { ...server.options, ...CONTEXT };
  await server.start();
  await withTable(server, 4);
  await server.stop();
  rmSync(join(server.datadir, 'aws-kms-key.3.1.json'));
  rmSync(join(server.datadir, 'aws-kms-key.4.1.json'));
  await server.start();
  for (const id of [3, 4]) expect(await server.sql(`SELECT i FROM d.t${id}`)).toEqual([{ i: 42 }]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=4');
  await server.stop();
  // With its sidecar a key tells its own context, whatever is configured now. That of the first version was written anew.
  for (const file of ['aws-kms-key.4.1', 'aws-kms-key.4.1.json']) rmSync(join(server.datadir, file));
  server.options = { ...server.options, aws_key_management_encryption_context: 'cluster=renamed' };
  await server.start();
  expect(await server.variable('STATUS', 'Aws_key_management_key_4_latest_version')).toBe('2');
});

it.each(['cluster', 'cluster=', 'a=b,a=c', 'aws:x=y', 'a=b,,c=d'])(
  'a server does not start with the malformed context %s',
  async (context) => {
    const kms = await startKms();
    const server = newServer(pluginOptions(kms.url, { aws_key_management_encryption_context: context }));
    await expect(server.start()).rejects.toThrow(
      /AWS KMS plugin: aws_key_management_encryption_context: .*; write name=value pairs/,
    );
  },
);

it('a server refuses swapped key files: one alone, with its sidecar, and without sidecars', async () => {
  const kms = await startKms();
  const server = await startServer(kms, CONTEXT);
  await withTable(server, 3);
  await withTable(server, 4);
  await server.stop();
  swap(server, 'aws-kms-key.3.1', 'aws-kms-key.4.1');
  await expect(server.start()).rejects.toThrow(
    /key 3 version 1: key file aws-kms-key\.3\.1: its SHA-256 is [0-9a-f]{64}, its sidecar says/,
  );
  swap(server, 'aws-kms-key.3.1.json', 'aws-kms-key.4.1.json');
  await expect(server.start()).rejects.toThrow(
    /sidecar aws-kms-key\.3\.1\.json: it describes key 4 version 1; the files of two keys were mixed up/,
  );
  for (const id of [3, 4]) rmSync(join(server.datadir, `aws-kms-key.${id}.1.json`));
  await expect(server.start()).rejects.toThrow(/keys 3-4 version 1: KMS Decrypt failed: InvalidCiphertextException/);
  swap(server, 'aws-kms-key.3.1', 'aws-kms-key.4.1');
  await server.start();
  expect(await server.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
});

it('a server refuses another plaintext of the right length from the endpoint', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await withTable(server);
  await server.stop();
  kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-plaintext' }]);
  await expect(server.start()).rejects.toThrow(
    /keys 1 and 3 version 1: KMS in us-east-1 answered wrongly: the data key is not the one that was made: its key check value differs/,
  );
});

it('after an alias is repointed, old keys keep their master key and new ones use the new one', async () => {
  const kms = await startKms({ aliases: ['alias/mariadb-encryption', 'alias/other'] });
  const server = await startServer(kms);
  await withTable(server);
  kms.kms.call('us-east-1', caller, 'UpdateAlias', {
    AliasName: 'alias/mariadb-encryption',
    TargetKeyId: kms.keyArns[1],
  });
  await server.restart();
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  const arnOf = (version: number): unknown =>
    JSON.parse(readFileSync(join(server.datadir, `aws-kms-key.3.${version}.json`), 'utf8')).masterKeyArn;
  expect([arnOf(1), arnOf(2)]).toEqual([kms.keyArns[0], kms.keyArns[1]]);
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
});

it('a running server reports that its master key was disabled, is to be deleted, or works again', async () => {
  let afterDays = 0;
  const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + afterDays * 86_400_000 };
  const kms = await startKms({ clock });
  const server = await startServer(kms, { aws_key_management_watch_interval: 1 });
  await withTable(server);
  const state = async (): Promise<unknown[]> => [
    await server.variable('STATUS', 'Aws_key_management_master_key_state'),
    await server.variable('STATUS', 'Aws_key_management_master_key_days_left'),
  ];
  const becomes = (wanted: readonly string[]): Promise<void> =>
    until(`the state is ${wanted[0]}`, async () => JSON.stringify(await state()) === JSON.stringify(wanted));
  await becomes(['usable', '']);
  // The watch calls no action that the server's identity does not need.
  expect(
    kms.calls
      .list()
      .every(({ operation, dryRun }) => operation !== 'DescribeKey' && (!dryRun || operation === 'Decrypt')),
  ).toBe(true);
  const KeyId = kms.keyArns[0];
  kms.kms.call('us-east-1', caller, 'DisableKey', { KeyId });
  await becomes(['disabled', '']);
  expect(server.log).toMatch(
    /\[ERROR\] .*AWS KMS plugin: the master key of key \d version 1 .* is disabled in us-east-1: .*aws kms enable-key[\s\S]*the next start fails/,
  );
  kms.kms.call('us-east-1', caller, 'ScheduleKeyDeletion', { KeyId, PendingWindowInDays: 7 });
  await becomes(['pending deletion', '6']);
  expect(server.log).toMatch(/is pending deletion in us-east-1, 6 days left: [\s\S]*aws kms cancel-key-deletion/);
  await server.sql('INSERT INTO d.t3 VALUES (43)');
  kms.kms.call('us-east-1', caller, 'CancelKeyDeletion', { KeyId });
  kms.kms.call('us-east-1', caller, 'EnableKey', { KeyId });
  await becomes(['usable', '']);
  // The clock passes the deletion date, but only by as much as KMS needs: otherwise signatures would have another day.
  kms.kms.call('us-east-1', caller, 'ScheduleKeyDeletion', { KeyId, PendingWindowInDays: 7 });
  afterDays = 8;
  kms.kms.call('us-east-1', caller, 'ListKeys', {});
  afterDays = 0;
  await becomes(['deleted', '']);
  expect(server.log).toMatch(
    /\[ERROR\] .*is deleted in us-east-1: NotFoundException: Key 'arn:[\s\S]*the next start fails/,
  );
  await server.sql('INSERT INTO d.t3 VALUES (44)');
});

interface TwoRegions {
  readonly here: DevKms;
  readonly there: DevKms;
  readonly arn: string;
  readonly options: ServerOptions;
}

/** A multi-Region key, its replica, and an endpoint for each Region. */
async function twoRegions(): Promise<TwoRegions> {
  const stateFile = join(scratchDirectory(), 'kms.json');
  const here = await startKms({ stateFile, aliases: [] });
  const made = here.kms.call('us-east-1', caller, 'CreateKey', { MultiRegion: true });
  const { KeyMetadata } = (made ?? {}) as { KeyMetadata: { Arn: string } };
  const arn = KeyMetadata.Arn;
  here.kms.call('us-east-1', caller, 'CreateAlias', { AliasName: 'alias/mariadb-encryption', TargetKeyId: arn });
  here.kms.call('us-east-1', caller, 'ReplicateKey', { KeyId: arn, ReplicaRegion: 'eu-west-1' });
  const there = await startKms({ stateFile, aliases: [] });
  const options = pluginOptions(here.url, {
    aws_key_management_region: 'us-east-1',
    aws_key_management_failover_regions: `eu-west-1=${there.url}`,
    aws_key_management_start_timeout: 50,
    // A start that waited for the attempt's end would be too late.
    aws_key_management_request_timeout: 60_000,
  });
  return { here, there, arn, options };
}

it.each<[string, RegExp, (regions: TwoRegions) => unknown]>([
  [
    'is slow',
    /us-east-1 did not answer within 1000 ms/,
    ({ here }) => here.faults.set([{ kind: 'latency', ms: 55_000 }]),
  ],
  ['does not answer', /us-east-1 did not answer within 1000 ms/, ({ here }) => here.faults.set([{ kind: 'hang' }])],
  ['is down', /us-east-1: ECONNREFUSED/, ({ here }) => here.close()],
  [
    'answers wrongly',
    /us-east-1: WrongAnswer: "KeyId" expected /,
    ({ here }) => here.faults.set([{ kind: 'wrong-key-id' }]),
  ],
  [
    'drops connections',
    /us-east-1: (?:ECONNRESET|TimeoutError: socket hang up)/,
    ({ here }) => here.faults.set([{ kind: 'drop' }]),
  ],
  [
    'throttles',
    /us-east-1: ThrottlingException/,
    ({ here }) => here.faults.set([{ kind: 'error', name: 'ThrottlingException', status: 400, message: '' }]),
  ],
  [
    'denies access',
    /us-east-1: AccessDeniedException/,
    ({ here }) => here.faults.set([{ kind: 'error', name: 'AccessDeniedException', status: 400, message: '' }]),
  ],
  [
    'has its key disabled',
    /us-east-1: DisabledException/,
    ({ here, arn }) => here.kms.call('us-east-1', caller, 'DisableKey', { KeyId: arn }),
  ],
])('a server starts from the next Region when the first %s, and names it', async (_, because, trouble) => {
  const regions = await twoRegions();
  const server = newServer(regions.options);
  await server.start();
  await withTable(server);
  await server.stop();
  await trouble(regions);
  await server.start();
  expect(server.log).toMatch(
    new RegExp(
      `\\[Warning\\] .*AWS KMS plugin: AWS KMS Decrypt: key \\d version 1 .*: served by eu-west-1: ${because.source}`,
    ),
  );
  // All operations work, and the status variables report the problem.
  let errors = 0;
  for (const kind of ['operator', 'transient', 'other']) {
    errors += Number(await server.variable('STATUS', `Aws_key_management_kms_errors_${kind}`));
  }
  expect(errors).toBeGreaterThan(0);
  expect(regions.there.calls.list().every(({ keyId }) => keyId === regions.arn.replace('us-east-1', 'eu-west-1'))).toBe(
    true,
  );
  expect(await server.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
});

it('the watch reports a disabled key in the first Region, and that the next start would use the other', async () => {
  const regions = await twoRegions();
  const server = newServer({ ...regions.options, aws_key_management_watch_interval: 1 });
  await server.start();
  await withTable(server);
  regions.here.kms.call('us-east-1', caller, 'DisableKey', { KeyId: regions.arn });
  const state = (): Promise<string | undefined> => server.variable('STATUS', 'Aws_key_management_master_key_state');
  await until('the state is disabled', async () => (await state()) === 'disabled');
  expect(server.log).toMatch(
    /\[Warning\] .*is disabled in us-east-1: DisabledException[\s\S]*the next start would be served by eu-west-1/,
  );
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
  const replica = regions.arn.replace('us-east-1', 'eu-west-1');
  regions.there.kms.call('eu-west-1', caller, 'DisableKey', { KeyId: replica });
  await until('the log tells of both', () =>
    /\[ERROR\] .*is disabled in us-east-1: [\s\S]*it is disabled in eu-west-1: [\s\S]*the next start fails/.test(
      server.log,
    ),
  );
  await server.stop();
  await expect(server.start()).rejects.toThrow(/us-east-1: DisabledException: .*\[eu-west-1: DisabledException: /);
});

it('a running server uses its master key once in each Region, including a replica that serves nothing', async () => {
  const regions = await twoRegions();
  const server = newServer({ ...regions.options, aws_key_management_watch_interval: 1 });
  await server.start();
  await withTable(server);
  await server.stop();
  const versions = readdirSync(server.datadir).filter((file) => /^aws-kms-key\.\d+\.\d+$/.test(file)).length;
  for (const { calls } of [regions.here, regions.there]) calls.clear();
  await server.start();
  const decrypts = (kms: DevKms, isDryRun: boolean): number =>
    kms.calls.list().filter(({ operation, dryRun }) => operation === 'Decrypt' && dryRun === isDryRun).length;
  await until('the replica was used', () => decrypts(regions.there, false) > 0);
  const looks = decrypts(regions.here, true);
  await until('it was looked at the master key again and again', () => decrypts(regions.here, true) >= looks + 3);
  expect(decrypts(regions.there, false)).toBe(1);
  expect(decrypts(regions.here, false)).toBe(versions + 1);
  expect(server.log).not.toContain('was not used in');
});

it('a copy of the data directory opens in the other Region, under the replica', async () => {
  const { there, options } = await twoRegions();
  const server = newServer(options);
  await server.start();
  await withTable(server);
  await server.stop();
  copyFileSync(join(server.datadir, 'aws-kms-key.3.1'), join(server.directory, 'kept'));
  server.options = pluginOptions(there.url, {
    aws_key_management_region: 'eu-west-1',
    aws_key_management_master_key_id: undefined,
  });
  await server.start();
  expect(await server.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
});
