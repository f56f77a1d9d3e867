/** How long a server takes to start with many key versions and a slow KMS. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  pluginOptions,
  ScratchServer,
  type ServerOptions,
  serverPlugin,
  TEST_CREDENTIALS,
} from '../harness/scratch-server.ts';
import { wipe } from '../src/bytes.ts';
import { systemClock } from '../src/cli/system.ts';
import { nodeFileSystem } from '../src/disk/file-system.ts';
import { keyId, keyVersion } from '../src/ids.ts';
import { KeyDirectory } from '../src/keystore/directory.ts';
import { createAwsKmsClient } from '../src/kms/aws/client.ts';
import { Secrets } from '../src/secrets.ts';
import { startKmsProcess } from './kms-process.ts';
import type { BenchOptions, Section } from './section.ts';
import { makeCertificates, type StandIn, startStandIn } from './stand-in.ts';
import { median, table, withSpread } from './statistics.ts';
import { answersOf } from './stored-keys.ts';
import { installTemplate } from './template.ts';

/** Versions of each key, as after some years of rotation. */
const VERSIONS_OF_A_KEY = 10;
const SERVER_OPTIONS: ServerOptions = { aws_key_management_start_timeout: 300 };

interface Start {
  readonly ms: number;
  /** CPU time of the stand-in of KMS, milliseconds. */
  readonly kmsMs: number;
}

/** Milliseconds until the server takes connections; then it must know so many versions. */
async function startOurs(server: ScratchServer, kms: StandIn, versions: number): Promise<Start> {
  await kms.take();
  const ms = await timed(() => server.start());
  try {
    const loaded = await server.variable('STATUS', 'Aws_key_management_versions_loaded');
    const { calls, cpuMs } = await kms.take();
    if (loaded !== String(versions) || calls !== versions)
      throw new Error(`${versions} versions: ${loaded} loaded with ${calls} calls`);
    return { ms, kmsMs: cpuMs };
  } finally {
    await server.kill();
  }
}

/** Starts the server and reads a table under the last of its keys. */
async function startOther(server: ScratchServer, keys: number): Promise<number> {
  const ms = await timed(() => server.start());
  try {
    await server.sql('CREATE DATABASE IF NOT EXISTS d');
    await server.sql(`CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${keys}`);
    await server.sql('DROP TABLE d.t');
  } finally {
    await server.stop();
  }
  return ms;
}

async function timed(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}

/** Milliseconds of one Decrypt after the other, for as many keys as `calls`. */
async function oneAtATime(keys: string, kms: StandIn, calls: number): Promise<number> {
  const environment = { ...TEST_CREDENTIALS, HOME: keys };
  const client = await createAwsKmsClient(
    { region: 'us-east-1', endpointUrl: kms.url, requestTimeoutMs: 0 },
    { proxyEnvironment: {}, environment, trustedCertificates: undefined, clock: systemClock, secrets: new Secrets() },
  );
  const store = new KeyDirectory(keys, nodeFileSystem, systemClock, Math.random);
  const name = { id: keyId(1), version: keyVersion(1) };
  const { wrapped } = await store.read(name);
  const request = { wrapped, masterKeyArn: undefined, encryptionContext: {} };
  try {
    return await timed(async () => {
      for (let call = 0; call < calls; call += 1) {
        wipe((await client.decrypt(request, AbortSignal.timeout(10_000))).plaintext);
      }
    });
  } finally {
    client.close();
  }
}

interface Found {
  readonly ms: number[];
  readonly kmsMs: number[];
  readonly tlsMs: number[];
}

interface Candidates {
  readonly versions: number;
  readonly keys: string;
  readonly ours: ScratchServer;
  readonly overTls: ScratchServer;
  /** By latency. */
  readonly found: ReadonlyMap<number, Found>;
  readonly other: ScratchServer;
  readonly otherMs: number[];
}

async function run({ directory, quick, rounds = quick ? 1 : 3, progress }: BenchOptions): Promise<string> {
  const counts = quick ? [1, 100, 1000] : [1, 100, 1000, 10_000];
  const latencies = quick ? [20] : [0, 20, 100];
  const template = await installTemplate(directory);
  const server = (name: string, options: ServerOptions, environment: NodeJS.ProcessEnv = {}): ScratchServer => {
    mkdirSync(join(directory, name));
    const made = new ScratchServer({
      directory: join(directory, name),
      options,
      environment: { ...TEST_CREDENTIALS, ...environment },
    });
    made.copyDatabase(template);
    return made;
  };
  const embedded = await startKmsProcess();
  const certificates = makeCertificates(directory);
  const kms = await startStandIn();
  const tls = await startStandIn(certificates);
  try {
    const sets: Candidates[] = [];
    for (const versions of counts) {
      const keys = join(directory, `keys-${versions}`);
      await embedded.makeKeys(keys, Math.ceil(versions / VERSIONS_OF_A_KEY), Math.min(versions, VERSIONS_OF_A_KEY));
      for (const each of [kms, tls]) await each.load(answersOf(keys));
      const file = join(directory, `keys-${versions}.txt`);
      const lines = Array.from({ length: versions }, (_, key) => `${key + 1};${randomBytes(16).toString('hex')}\n`);
      writeFileSync(file, lines.join(''), { mode: 0o600 });
      sets.push({
        versions,
        keys,
        ours: server(
          `ours-${versions}`,
          pluginOptions(kms.url, { ...SERVER_OPTIONS, aws_key_management_keyfile_dir: keys }),
        ),
        overTls: server(
          `tls-${versions}`,
          pluginOptions(tls.url, { ...SERVER_OPTIONS, aws_key_management_keyfile_dir: keys }),
          { AWS_CA_BUNDLE: certificates.authority },
        ),
        other: server(`file-${versions}`, {
          plugin_dir: dirname(serverPlugin('file_key_management')),
          plugin_load_add: 'file_key_management',
          file_key_management_filename: file,
        }),
        otherMs: [],
        found: new Map(latencies.map((latency) => [latency, { ms: [], kmsMs: [], tlsMs: [] }])),
      });
    }
    const sequentialMs = new Map<number, number>();
    const calls = quick ? 10 : 30;
    for (let round = 0; round < rounds; round += 1) {
      for (const latency of latencies) {
        for (const each of [kms, tls]) await each.setLatency(latency);
        progress(`round ${round + 1} of ${rounds}, KMS answers after ${latency} ms`);
        for (const { versions, keys, ours, overTls, found } of sets) {
          const { ms, kmsMs } = await startOurs(ours, kms, versions);
          found.get(latency)?.ms.push(ms);
          found.get(latency)?.kmsMs.push(kmsMs);
          found.get(latency)?.tlsMs.push((await startOurs(overTls, tls, versions)).ms);
          if (!sequentialMs.has(latency)) sequentialMs.set(latency, (await oneAtATime(keys, kms, calls)) / calls);
        }
      }
      for (const { versions, other, otherMs } of sets) otherMs.push(await startOther(other, versions));
    }
    const rows = sets.flatMap(({ versions, otherMs, found }) =>
      latencies.map((latency) => {
        const { ms, kmsMs, tlsMs } = found.get(latency) ?? { ms: [], kmsMs: [], tlsMs: [] };
        const one = sets[0]?.found.get(latency)?.ms ?? [];
        return [
          `${versions.toLocaleString('en')} at ${latency} ms`,
          seconds(otherMs),
          seconds(ms),
          ((median(ms) - median(one)) / 1000).toFixed(2),
          seconds(tlsMs),
          (median(kmsMs) / 1000).toFixed(2),
          (((sequentialMs.get(latency) ?? Number.NaN) * versions) / 1000).toFixed(2),
        ];
      }),
    );
    const header = [
      'versions, KMS',
      '`file_key_management`',
      'this plugin',
      'more than with one',
      'over TLS',
      "KMS's stand-in, CPU",
      'Decrypt one at a time',
    ];
    return `Seconds; the last column is ${calls} calls of one Decrypt after the other, times the versions, without a server.\n\n${table(header, rows)}`;
  } finally {
    for (const each of [kms, tls, embedded]) await each.close();
  }
}

function seconds(ms: readonly number[]): string {
  return withSpread(
    ms.map((each) => each / 1000),
    2,
  );
}

export const startUp: Section = { name: 'start-up', title: 'Starting with many key versions', run };
