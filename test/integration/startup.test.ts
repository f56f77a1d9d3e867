import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AgentLauncher, failingCall } from '../../harness/agent-launcher.ts';
import { pluginOptions, type ScratchServer, type ServerOptions } from '../../harness/scratch-server.ts';
import type { DevKms, FaultRule } from '../../src/dev-kms/index.ts';
import { HELD, HeldCalls } from '../support/held-calls.ts';
import { keyFiles, MASTER_KEY, newServer, operations, run, sqlError, startKms } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const caller = { accessKeyId: '', denied: [] };

/** A server that has an encrypted table and is stopped. */
async function usedServer(kms: DevKms, options: ServerOptions = {}): Promise<ScratchServer> {
  const server = newServer(pluginOptions(kms.url, options));
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('INSERT INTO d.t VALUES (42)');
  await server.stop();
  return server;
}

interface Trouble {
  readonly what: string;
  /** Causes the fault; returns options to start with. */
  readonly make: (server: ScratchServer, kms: DevKms) => ServerOptions | undefined;
  readonly cause: RegExp;
  readonly cure: RegExp;
}

/** The text by which this fault is recognised: AWS has no other error for it. */
const externalKeyStoreHiccup: FaultRule = {
  operation: 'Decrypt',
  kind: 'error',
  name: 'KMSInvalidStateException',
  status: 400,
  message: 'KMS rejected the request because the external key store proxy did not respond in time. Retry the request.',
};

const TROUBLES: readonly Trouble[] = [
  {
    what: 'the wrong Region',
    make: () => ({ aws_key_management_region: 'eu-central-1' }),
    cause: /keys 1 and 3 version 1: KMS Decrypt failed: \w+Exception: .* \(request [0-9a-f-]+\)/,
    cure: /aws_key_management_region|does not exist in this Region/,
  },
  {
    what: 'no credentials',
    make: (server) => {
      server.environment = { AWS_EC2_METADATA_DISABLED: 'true' };
      return undefined;
    },
    cause:
      /keys 1 and 3 version 1: KMS Decrypt failed.*: CredentialsProviderError: Could not load credentials from any providers/,
    cure: /give the server an identity: an instance, task or pod role/,
  },
  {
    what: 'a wrong secret access key',
    make: (server) => {
      server.environment = { ...server.environment, AWS_SECRET_ACCESS_KEY: 'wrong' };
      return undefined;
    },
    cause: /KMS Decrypt failed.*: InvalidSignatureException/,
    cure: /check the secret access key and that the clock of this machine is right/,
  },
  {
    what: 'a disabled master key',
    make: (_, kms) => {
      kms.kms.call('us-east-1', caller, 'DisableKey', { KeyId: kms.keyArns[0] });
      return undefined;
    },
    cause: /keys 1 and 3 version 1: KMS Decrypt failed: DisabledException: arn:aws:kms:\S+ is disabled\./,
    cure: /aws kms enable-key/,
  },
  {
    what: 'a master key pending deletion',
    make: (_, kms) => {
      kms.kms.call('us-east-1', caller, 'ScheduleKeyDeletion', { KeyId: kms.keyArns[0], PendingWindowInDays: 7 });
      return undefined;
    },
    cause: /KMS Decrypt failed: KMSInvalidStateException: arn:aws:kms:\S+ is pending deletion\./,
    cure: /aws kms cancel-key-deletion/,
  },
  {
    what: 'an external key store that stays away',
    make: (_, kms) => {
      kms.faults.set([externalKeyStoreHiccup]);
      return undefined;
    },
    cause:
      /KMS Decrypt failed after \d+ attempts: MasterKeyUnavailable: KMSInvalidStateException: KMS rejected the request/,
    cure: /describe-custom-key-stores/,
  },
  {
    what: 'a refused Decrypt',
    make: (_, kms) => {
      kms.faults.set([
        { operation: 'Decrypt', kind: 'error', name: 'AccessDeniedException', status: 400, message: 'not authorized' },
      ]);
      return undefined;
    },
    cause: /KMS Decrypt failed: AccessDeniedException: not authorized/,
    cure: /kms:GenerateDataKeyWithoutPlaintext and kms:Decrypt/,
  },
  {
    what: 'a KMS that does not answer',
    make: (_, kms) => {
      kms.faults.set([{ kind: 'hang' }]);
      return undefined;
    },
    cause: /KMS Decrypt did not succeed within [\d.]+ s: no answer came/,
    cure: /check that the server can reach the KMS endpoint/,
  },
  {
    what: 'a KMS that nobody listens for',
    make: () => ({ aws_key_management_endpoint_url: 'http://127.0.0.1:1' }),
    cause: /KMS Decrypt failed after \d+ attempts: ECONNREFUSED/,
    cure: /security groups/,
  },
  {
    what: 'a proxy that sends HTML',
    make: (_, kms) => {
      kms.faults.set([{ kind: 'garbage' }]);
      return undefined;
    },
    cause: /KMS Decrypt failed after \d+ attempts/,
    cure: /aws_key_management_endpoint_url|AWS Health Dashboard/,
  },
  {
    what: 'a corrupt key file',
    make: (server) => {
      writeFileSync(join(server.datadir, 'aws-kms-key.3.1'), 'no wrapped key');
      return undefined;
    },
    cause: /key 3 version 1: key file aws-kms-key\.3\.1: its SHA-256 is [0-9a-f]{64}, its sidecar says/,
    cure: /restore the file from a backup/,
  },
  {
    what: 'an empty key file',
    make: (server) => {
      writeFileSync(join(server.datadir, 'aws-kms-key.3.1'), '');
      return undefined;
    },
    cause: /key 3 version 1: key file aws-kms-key\.3\.1: expected 1 to 6144 bytes, got 0/,
    cure: /restore the file from a backup/,
  },
];

it.each(TROUBLES)(
  'with $what a FORCE server does not start, an ON server starts without the plugin, and the log names cause and fix',
  async ({ make, cause, cure }) => {
    const kms = await startKms();
    const server = await usedServer(kms);
    server.options = { ...server.options, aws_key_management_start_timeout: 6, ...make(server, kms) };
    const files = keyFiles(server.datadir);
    const logged = (from: number): string[] =>
      server.log
        .slice(from)
        .split('\n')
        .filter((line) => line.includes('[ERROR]') && line.includes('AWS KMS plugin: '));

    let from = server.log.length;
    server.options = { ...server.options, aws_key_management: 'FORCE' };
    await expect(server.start()).rejects.toThrow(/Failed to initialize plugins/);
    expect(
      logged(from).some((line) => cause.test(line) && cure.test(line)),
      logged(from).join('\n'),
    ).toBe(true);

    from = server.log.length;
    server.options = { ...server.options, aws_key_management: 'ON' };
    await server.start();
    expect(
      logged(from).some((line) => cause.test(line) && cure.test(line)),
      logged(from).join('\n'),
    ).toBe(true);
    expect(await sqlError(server, 'SELECT * FROM d.t')).toMatch(/is corrupted|doesn't exist in engine/);

    // An unreadable key file does not make the key count as new.
    expect(operations(kms).filter((operation) => operation.startsWith('Generate'))).toHaveLength(2);
    expect(keyFiles(server.datadir)).toEqual(files);
  },
);

it('with an unknown alias existing keys load, and new ones fail with its name', async () => {
  const kms = await startKms();
  const server = await usedServer(kms);
  server.options = { ...server.options, aws_key_management_master_key_id: 'alias/unknown' };
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3')).toMatch(
    /^AWS KMS plugin: key 3 version 2 \(master key alias\/unknown\): KMS GenerateDataKeyWithoutPlaintext failed: NotFoundException: Alias arn:aws:kms:\S+alias\/unknown is not found\..*aws_key_management_region/,
  );
});

it('an unreadable key directory is named, with FORCE and ON, and no key is created', async () => {
  const kms = await startKms();
  // Root can read everything, so a server that root starts runs as another user.
  const server = newServer(pluginOptions(kms.url), process.getuid?.() === 0 ? { user: 'nobody' } : {});
  const keys = join(server.directory, 'keys');
  mkdirSync(keys, { mode: 0o000 });
  for (const activation of ['FORCE', 'ON']) {
    const from = server.log.length;
    server.options = { ...server.options, aws_key_management: activation, aws_key_management_keyfile_dir: keys };
    if (activation === 'FORCE') await expect(server.start()).rejects.toThrow(/Failed to initialize plugins/);
    else await server.start();
    expect(server.log.slice(from)).toMatch(
      /\[ERROR\] .*AWS KMS plugin: cannot list the key directory \S+keys: EACCES.*; the server runs as user \d+, and \S+keys is of user 0 with mode 0000: chown \d+ \S+keys && chmod 0750 \S+keys$/m,
    );
  }
  expect(kms.calls.list()).toEqual([]);
  await server.stop();
  const [cure = ''] = /chown \d+ \S+ && chmod 0750 \S+$/m.exec(server.log) ?? [];
  await run('sh', ['-c', cure]);
  await server.start();
  expect(kms.calls.list()).not.toEqual([]);
});

it('a server with allow_missing_keys starts without keys that KMS refuses, retries them, and counts them', async () => {
  const kms = await startKms();
  const server = await usedServer(kms);
  kms.kms.call('us-east-1', caller, 'DisableKey', { KeyId: kms.keyArns[0] });
  server.options = { ...server.options, aws_key_management_allow_missing_keys: 'ON' };
  await server.start();
  expect(server.log).toMatch(/\[ERROR\] .*keys 1 and 3 version 1: .*DisabledException/);
  expect(server.log).toMatch(/\[Warning\] .*2 of 2 stored key versions cannot be unwrapped; starting without them/);
  expect(await server.variable('STATUS', 'Aws_key_management_versions_missing')).toBe('2');
  kms.kms.call('us-east-1', caller, 'EnableKey', { KeyId: kms.keyArns[0] });
  await until(
    'the missing keys are loaded',
    async () => (await server.variable('STATUS', 'Aws_key_management_versions_missing')) === '0',
  );
  expect(server.log).toContain('every stored key version is loaded now');
  expect(await server.variable('STATUS', 'Aws_key_management_versions_loaded')).toBe('2');
});

it('request_timeout limits an attempt: a KMS that does not answer is called again and again', async () => {
  const kms = await startKms();
  const server = await usedServer(kms, { aws_key_management: 'ON' });
  kms.faults.set([{ kind: 'hang', count: 3 }]);
  kms.calls.clear();
  server.options = { ...server.options, aws_key_management_request_timeout: 300, aws_key_management_start_timeout: 20 };
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  // At log level Off, too, whoever waits is told why.
  expect(server.log).toMatch(
    /\[Warning\] .*AWS KMS plugin: AWS KMS Decrypt: key \d version 1 .*TimeoutError: .*; trying again/,
  );
});

it('a server starts when an external key store answers late', async () => {
  const kms = await startKms();
  const server = await usedServer(kms);
  kms.faults.set([{ ...externalKeyStoreHiccup, count: 3 }]);
  server.options = { ...server.options, aws_key_management_start_timeout: 20 };
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  expect(server.log).toMatch(
    /\[Warning\] .*AWS KMS plugin: .*MasterKeyUnavailable: KMSInvalidStateException: .*; trying again/,
  );
});

it('the status variables count keys, calls and errors by kind', async () => {
  const kms = await startKms();
  const server = await usedServer(kms);
  await server.start();
  kms.faults.set([
    {
      operation: 'GenerateDataKeyWithoutPlaintext',
      kind: 'error',
      name: 'AccessDeniedException',
      status: 400,
      message: 'no',
      count: 1,
    },
  ]);
  await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3');
  kms.faults.set([
    { operation: 'Decrypt', kind: 'error', name: 'InvalidCiphertextException', status: 400, message: '', count: 1 },
  ]);
  await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3');
  kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-plaintext-length', bytes: 5, count: 1 }]);
  await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=3');
  kms.faults.set([
    { operation: 'Decrypt', kind: 'error', name: 'ThrottlingException', status: 400, message: '', count: 2 },
  ]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  const rows = await server.sql("SHOW GLOBAL STATUS LIKE 'Aws\\_key\\_management%'");
  const status = Object.fromEntries(
    rows.map(({ Variable_name, Value }) => [String(Variable_name).replace('Aws_key_management_', ''), Value]),
  );
  expect(status).toMatchObject({
    agent_state: 'running',
    agent_starts: '1',
    keys_loaded: '2',
    versions_loaded: '3',
    versions_missing: '0',
    rotations: '1',
    keys_created: '1',
    // Two calls at the start, one for each rotation so far, and two more that were throttled.
    kms_calls_decrypt: '7',
    kms_calls_generate: '4',
    kms_errors_operator: '1',
    kms_errors_transient: '2',
    kms_errors_corrupt: '1',
    kms_errors_other: '1',
    key_1_latest_version: '1',
    key_1_encryption_algorithm: 'AES_CBC',
    key_3_latest_version: '2',
    key_3_encryption_algorithm: 'AES_CBC',
  });
});

it('a start survives throttling, errors and dropped connections', async () => {
  const kms = await startKms();
  const server = await usedServer(kms);
  kms.faults.set([
    { kind: 'error', name: 'ThrottlingException', status: 400, message: 'slow down', count: 3 },
    { kind: 'error', name: 'KMSInternalException', status: 500, message: '', count: 2 },
    { kind: 'drop', count: 2 },
    { kind: 'half', count: 1 },
    { kind: 'garbage', count: 1 },
  ]);
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  expect(Number(await server.variable('STATUS', 'Aws_key_management_kms_errors_transient'))).toBeGreaterThanOrEqual(9);
});

it('a start unwraps all versions in parallel: many keys take little longer than one', async () => {
  const held = new HeldCalls();
  const kms = await startKms({ clock: held });
  const server = await usedServer(kms);
  for (let version = 2; version <= 200; version += 1) {
    const made = kms.kms.generateDataKeyWithoutPlaintext({
      region: 'us-east-1',
      keyId: MASTER_KEY,
      keySpec: 'AES_128',
    });
    writeFileSync(join(server.datadir, `aws-kms-key.3.${version}`), made.ciphertextBlob);
  }
  kms.calls.clear();
  kms.faults.set([HELD]);
  const started = server.start();
  // KMS answers nothing until it has been asked for so many; there are 77 left then.
  for (const calls of [4, 8, 16, 32, 64, 77]) {
    await until(`${calls} calls are under way`, () => held.calls === calls, 60);
    held.letGo();
  }
  await started;
  expect(operations(kms)).toHaveLength(201);
  expect(await server.variable('STATUS', 'Aws_key_management_versions_loaded')).toBe('201');
});

it('only the server may read the key files that it writes', async () => {
  const server = await usedServer(await startKms());
  const { stdout } = await run('stat', [
    '-c',
    '%a',
    ...keyFiles(server.datadir).map((file) => join(server.datadir, file)),
  ]);
  expect(new Set(stdout.trim().split('\n'))).toEqual(new Set(['600']));
  expect(readFileSync(join(server.datadir, 'aws-kms-key.3.1')).length).toBeGreaterThan(100);
});

it('a start survives one killed agent, and fails when the next one is killed, too', async () => {
  const kms = await startKms();
  const directory = scratchDirectory();
  const agent = new AgentLauncher(directory);
  const server = await usedServer(kms, { aws_key_management_agent: agent.path });
  // Agents are killed when they call KMS, as often as the file says.
  const [killer, left] = [join(directory, 'killer'), join(directory, 'left')];
  const kill = failingCall('connect:signal=SIGKILL:when=1');
  writeFileSync(
    killer,
    `#!/bin/sh\nread -r n <${left}\n[ $n -gt 0 ] || exec "$@"\necho $((n - 1)) >${left}\nexec ${kill} "$@"\n`,
    { mode: 0o755 },
  );
  agent.prefix(killer);

  writeFileSync(left, '1\n');
  await server.start();
  expect(server.log).toContain('AWS KMS plugin: the agent ended (signal 9, Killed); loaded keys stay in use');
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  await server.stop();

  writeFileSync(left, '2\n');
  await expect(server.start()).rejects.toThrow('[ERROR] mariadbd: AWS KMS plugin: the agent ended (signal 9, Killed)');
});
