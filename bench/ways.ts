/** The ways to KMS: TLS and its key exchange, and the sources of credentials. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import {
  AGENT,
  pluginOptions,
  ScratchServer,
  TEST_ACCESS_KEYS_FILE,
  TEST_CREDENTIALS,
} from '../harness/scratch-server.ts';
import { runAgent } from './agent-process.ts';
import { type KmsProcess, startKmsProcess } from './kms-process.ts';
import type { TlsConnections } from './replaying-kms.ts';
import type { BenchOptions, Section } from './section.ts';
import { makeCertificates } from './stand-in.ts';
import { ratios, table, withSpread } from './statistics.ts';
import { installTemplate } from './template.ts';

/** The agent's line about its call and the key arrive together where KMS answers sooner. */
const LATENCY_MS = 20;
const GROUPS = ['X25519', 'X25519MLKEM768'] as const;
type Group = (typeof GROUPS)[number];

interface Way {
  readonly name: string;
  readonly url: string;
  readonly environment: NodeJS.ProcessEnv;
}

class Candidate {
  readonly way: Way;
  readonly firstKeyMs: number[] = [];
  readonly startMs: number[] = [];
  readonly rotationMs: number[] = [];
  connections: TlsConnections = { all: 0, resumed: 0 };
  readonly #one: string;
  readonly #small: ScratchServer;
  readonly #large: ScratchServer;
  readonly #keys: number;

  private constructor(way: Way, one: string, small: ScratchServer, large: ScratchServer, keys: number) {
    this.way = way;
    this.#one = one;
    this.#small = small;
    this.#large = large;
    this.#keys = keys;
  }

  static async make(way: Way, directory: string, template: string, kms: KmsProcess, keys: number): Promise<Candidate> {
    mkdirSync(directory);
    const server = async (ids: number): Promise<ScratchServer> => {
      const path = join(directory, String(ids));
      mkdirSync(path);
      const options = pluginOptions(way.url, {
        aws_key_management_keyfile_dir: join(directory, `keys-${ids}`),
        aws_key_management_region: 'us-east-1',
      });
      await kms.makeKeys(join(directory, `keys-${ids}`), ids, 1);
      const made = new ScratchServer({ directory: path, options, environment: way.environment });
      made.copyDatabase(template);
      return made;
    };
    return new Candidate(way, join(directory, 'keys-1'), await server(1), await server(keys), keys);
  }

  async firstKey(kms: KmsProcess): Promise<void> {
    const { url, environment, name } = this.way;
    await kms.takeCalls();
    const { keys, welcomeMs, firstCallMs } = await runAgent({
      command: [AGENT],
      args: ['--node-options=--no-jitless'],
      keyDirectory: this.#one,
      kmsUrl: url,
      ask: { type: 'load' },
      logLevel: 'Trace',
      environment,
    });
    const calls = await kms.takeCalls();
    if (keys !== 1 || calls !== 1) throw new Error(`${name}: ${keys} keys with ${calls} calls`);
    this.firstKeyMs.push(welcomeMs + firstCallMs - LATENCY_MS);
  }

  async start(): Promise<void> {
    try {
      this.startMs.push(await timed(() => this.#small.start()));
      const loaded = await this.#small.variable('STATUS', 'Aws_key_management_versions_loaded');
      if (loaded !== '1') throw new Error(`${this.way.name}: ${loaded} versions loaded`);
    } finally {
      await this.#small.kill();
    }
  }

  /** Starts the server that rotates. */
  async begin(): Promise<void> {
    await this.#large.start();
  }

  async rotate(kms: KmsProcess): Promise<void> {
    await kms.takeCalls();
    await kms.takeConnections();
    this.rotationMs.push(await timed(() => this.#large.sql('SET GLOBAL aws_key_management_rotate_key=-1')));
    const calls = await kms.takeCalls();
    if (calls !== 2 * this.#keys) throw new Error(`${this.way.name}: rotated with ${calls} calls`);
    this.connections = await kms.takeConnections();
  }

  async end(): Promise<void> {
    await this.#large.kill();
  }
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}

/** Checks that the server exchanges keys in this way and in no other. */
async function checkGroup(url: string, authority: string, group: Group): Promise<void> {
  for (const offered of [undefined, ...GROUPS]) {
    const { hostname, port } = new URL(url);
    const ca = readFileSync(authority);
    const socket = connect({ host: hostname, port: Number(port), ca, ...(offered ? { ecdhCurve: offered } : {}) });
    const found = await new Promise<unknown>((resolve) => {
      socket.once('secureConnect', () => resolve(socket.getEphemeralKeyInfo()));
      socket.once('error', () => resolve(null));
    });
    socket.destroy();
    const name = typeof found === 'object' && found !== null && 'name' in found ? found.name : undefined;
    const expected = offered === undefined || offered === group ? group : undefined;
    if (name !== expected) throw new Error(`offered ${offered}, expected ${expected}, got ${name}`);
  }
}

async function waysTo(kms: KmsProcess, directory: string): Promise<readonly Way[]> {
  const certificates = makeCertificates(directory);
  const certificate = readFileSync(certificates.chain, 'utf8');
  const key = readFileSync(certificates.key, 'utf8');
  // No shared files but those of the row that has them.
  const nobody = { HOME: directory };
  const trusting = { AWS_CA_BUNDLE: certificates.authority };
  const environment = { ...nobody, ...TEST_CREDENTIALS };
  const metadata = { ...nobody, AWS_EC2_METADATA_SERVICE_ENDPOINT: await kms.instanceMetadata() };
  const file = join(directory, 'credentials');
  writeFileSync(file, TEST_ACCESS_KEYS_FILE, { mode: 0o600 });
  const shared = { ...nobody, AWS_SHARED_CREDENTIALS_FILE: file };
  const overTls: Way[] = [];
  for (const group of GROUPS) {
    const url = await kms.listenTls({ certificate, key, group });
    await checkGroup(url, certificates.authority, group);
    overTls.push({ name: `TLS, ${group}, environment`, url, environment: { ...environment, ...trusting } });
  }
  const hybrid = overTls.at(-1)?.url ?? '';
  return [
    { name: 'HTTP, environment', url: kms.url, environment },
    ...overTls,
    { name: 'HTTP, shared credentials file', url: kms.url, environment: shared },
    { name: 'HTTP, instance metadata', url: kms.url, environment: metadata },
    { name: 'TLS, X25519MLKEM768, shared credentials file', url: hybrid, environment: { ...shared, ...trusting } },
    { name: 'TLS, X25519MLKEM768, instance metadata', url: hybrid, environment: { ...metadata, ...trusting } },
  ];
}

async function run({ directory, quick, rounds = quick ? 1 : 15, progress }: BenchOptions): Promise<string> {
  const keys = quick ? 100 : 1000;
  const template = await installTemplate(directory);
  const kms = await startKmsProcess();
  try {
    await kms.setLatency(LATENCY_MS);
    const candidates: Candidate[] = [];
    for (const [index, way] of (await waysTo(kms, directory)).entries())
      candidates.push(await Candidate.make(way, join(directory, String(index)), template, kms, keys));
    for (let round = 0; round < rounds; round += 1) {
      progress(`first key and start, round ${round + 1} of ${rounds}`);
      for (const each of candidates) await each.firstKey(kms);
      for (const each of candidates) await each.start();
    }
    try {
      for (const each of candidates) await each.begin();
      const rotations = Math.ceil(rounds / 5);
      for (let round = 0; round < rotations; round += 1) {
        progress(`rotation, round ${round + 1} of ${rotations}`);
        for (const each of candidates) await each.rotate(kms);
      }
    } finally {
      for (const each of candidates) await each.end();
    }
    const [reference] = candidates;
    if (reference === undefined) throw new Error('no way');
    const rows = candidates.map((each) => [
      each.way.name,
      withSpread(each.firstKeyMs, 0),
      withSpread(ratios(each.firstKeyMs, reference.firstKeyMs), 2),
      withSpread(
        each.startMs.map((ms) => ms / 1000),
        2,
      ),
      withSpread(ratios(each.startMs, reference.startMs), 2),
      withSpread(
        each.rotationMs.map((ms) => ms / 1000),
        2,
      ),
      withSpread(ratios(each.rotationMs, reference.rotationMs), 2),
      each.connections.all === 0
        ? '–'
        : `${each.connections.all - each.connections.resumed} + ${each.connections.resumed}`,
    ]);
    const header = [
      'way to KMS, credentials from',
      'first key, ms',
      'ratio',
      'start with one key, s',
      'ratio',
      `rotation of ${keys.toLocaleString('en')} keys, s`,
      'ratio',
      'TLS handshakes of it, full + resumed',
    ];
    return table(header, rows);
  } finally {
    await kms.close();
  }
}

export const ways: Section = { name: 'ways', title: 'TLS, and where credentials come from', run };
