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
import { measureStart, moreThanOne, type Start, type Starts, seconds, startsTable } from './measured-start.ts';
import type { BenchOptions, Section } from './section.ts';
import { makeCertificates, type StandIn, startStandIn } from './stand-in.ts';
import { table, withSpread } from './statistics.ts';
import { answersOf } from './stored-keys.ts';
import { installTemplate } from './template.ts';

/** Versions of each key, as after some years of rotation. */
const VERSIONS_OF_A_KEY = 10;
const SERVER_OPTIONS: ServerOptions = { aws_key_management_start_timeout: 300 };

/** Versions of a start that is measured once, for its memory. */
const MOST_VERSIONS = 100_000;
/** The executable of an earlier agent, measured beside this one. */
const { EARLIER_AGENT: EARLIER } = process.env;

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

/** Starts of one server; `kms` is what it asks. */
interface Candidate {
  readonly server: ScratchServer;
  readonly kms: StandIn;
  /** By latency. */
  readonly starts: ReadonlyMap<number, Start[]>;
}

interface Candidates {
  readonly versions: number;
  readonly keys: string;
  /** This plugin with a plain KMS, with one over TLS, and with an earlier agent. */
  readonly plain: Candidate;
  readonly tls: Candidate;
  readonly earlier: Candidate | undefined;
  readonly other: ScratchServer;
  readonly otherMs: number[];
}

async function run({ directory, quick, rounds = quick ? 1 : 3, progress }: BenchOptions): Promise<string> {
  const counts = quick ? [1, 100, 1000] : [1, 100, 1000, 10_000];
  const latencies = quick ? [20] : [0, 20, 100];
  const template = await installTemplate(directory);
  const embedded = await startKmsProcess();
  const certificates = makeCertificates(directory);
  const plainKms = await startStandIn();
  const tlsKms = await startStandIn(certificates);
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
  const candidate = (name: string, kms: StandIn, keys: string, options: ServerOptions = {}): Candidate => {
    const all = { ...SERVER_OPTIONS, aws_key_management_keyfile_dir: keys, ...options };
    const environment = kms === tlsKms ? { AWS_CA_BUNDLE: certificates.authority } : {};
    const starts = new Map(latencies.map((latency) => [latency, []]));
    return { server: server(name, pluginOptions(kms.url, all), environment), kms, starts };
  };
  const makeKeys = async (versions: number, ...users: readonly StandIn[]): Promise<string> => {
    const keys = join(directory, `keys-${versions}`);
    await embedded.makeKeys(keys, Math.ceil(versions / VERSIONS_OF_A_KEY), Math.min(versions, VERSIONS_OF_A_KEY));
    for (const kms of users) await kms.load(answersOf(keys));
    return keys;
  };
  try {
    const sets: Candidates[] = [];
    for (const versions of counts) {
      const keys = await makeKeys(versions, plainKms, tlsKms);
      const file = join(directory, `keys-${versions}.txt`);
      const lines = Array.from({ length: versions }, (_, key) => `${key + 1};${randomBytes(16).toString('hex')}\n`);
      writeFileSync(file, lines.join(''), { mode: 0o600 });
      const isCompared = EARLIER !== undefined && (versions === 1 || versions === counts.at(-1));
      sets.push({
        versions,
        keys,
        plain: candidate(`ours-${versions}`, plainKms, keys),
        tls: candidate(`tls-${versions}`, tlsKms, keys),
        earlier: isCompared
          ? candidate(`earlier-${versions}`, plainKms, keys, { aws_key_management_agent: EARLIER })
          : undefined,
        other: server(`file-${versions}`, {
          plugin_dir: dirname(serverPlugin('file_key_management')),
          plugin_load_add: 'file_key_management',
          file_key_management_filename: file,
        }),
        otherMs: [],
      });
    }
    const sequentialMs = new Map<number, number>();
    const calls = quick ? 10 : 30;
    for (let round = 0; round < rounds; round += 1) {
      for (const latency of latencies) {
        for (const kms of [plainKms, tlsKms]) await kms.setLatency(latency);
        progress(`round ${round + 1} of ${rounds}, KMS answers after ${latency} ms`);
        for (const { versions, keys, plain, tls, earlier } of sets) {
          for (const each of [plain, tls, earlier]) {
            if (each !== undefined) startsAt(each, latency).push(await measureStart(each.server, each.kms, versions));
          }
          if (!sequentialMs.has(latency)) sequentialMs.set(latency, (await oneAtATime(keys, plainKms, calls)) / calls);
        }
      }
      for (const { versions, other, otherMs } of sets) otherMs.push(await startOther(other, versions));
    }
    const [one, many] = [sets[0], sets.at(-1)];
    if (one === undefined || many === undefined) throw new Error('nothing was measured');
    const rows = sets.flatMap(({ versions, otherMs, plain, tls }) =>
      latencies.map((latency) => [
        `${versions.toLocaleString('en')} at ${latency} ms`,
        withSpread(otherMs.map(inSeconds), 2),
        withSpread(
          startsAt(plain, latency).map(({ ms }) => inSeconds(ms)),
          2,
        ),
        seconds(moreThanOne({ one: startsAt(one.plain, latency), many: startsAt(plain, latency) })),
        withSpread(
          startsAt(tls, latency).map(({ ms }) => inSeconds(ms)),
          2,
        ),
        seconds((sequentialMs.get(latency) ?? Number.NaN) * versions),
      ]),
    );
    const compare = (
      kind: string,
      latencyMs: number,
      from: Candidate | undefined,
      to: Candidate | undefined,
    ): Starts[] =>
      from === undefined || to === undefined
        ? []
        : [
            {
              name: `${many.versions.toLocaleString('en')} at ${latencyMs} ms${kind}`,
              versions: many.versions,
              latencyMs,
              one: startsAt(from, latencyMs),
              many: startsAt(to, latencyMs),
            },
          ];
    const details = latencies.flatMap((latency) => [
      ...compare(', the earlier agent', latency, one.earlier, many.earlier),
      ...compare('', latency, one.plain, many.plain),
      ...compare(' over TLS', latency, one.tls, many.tls),
    ]);
    if (!quick) {
      progress(`${MOST_VERSIONS.toLocaleString('en')} versions`);
      await plainKms.setLatency(0);
      const most = candidate('most', plainKms, await makeKeys(MOST_VERSIONS, plainKms));
      details.push({
        name: `${MOST_VERSIONS.toLocaleString('en')} at 0 ms`,
        versions: MOST_VERSIONS,
        latencyMs: 0,
        one: startsAt(one.plain, 0),
        many: [await measureStart(most.server, most.kms, MOST_VERSIONS)],
      });
    }
    const header = [
      'versions, KMS',
      '`file_key_management`',
      'this plugin',
      'more than with one',
      'over TLS',
      'Decrypt one at a time',
    ];
    const words = `Seconds; the last column is ${calls} calls of one Decrypt after the other, times the versions, without a server.`;
    return `${words}\n\n${table(header, rows)}\n${startsTable(details)}`;
  } finally {
    for (const each of [plainKms, tlsKms, embedded]) await each.close();
  }
}

function startsAt({ starts }: Candidate, latencyMs: number): Start[] {
  const found = starts.get(latencyMs);
  if (found === undefined) throw new Error(`no starts at ${latencyMs} ms`);
  return found;
}

function inSeconds(ms: number): number {
  return ms / 1000;
}

export const startUp: Section = { name: 'start-up', title: 'Starting with many key versions', run };
