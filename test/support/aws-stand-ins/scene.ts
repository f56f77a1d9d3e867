import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { expect, vi } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { type CallRecord, type DevKms, startDevKms } from '../../../src/dev-kms/index.ts';
import { type ErrorCode, KeyError } from '../../../src/errors.ts';
import { createAwsKmsClient } from '../../../src/kms/aws/client.ts';
import type { AwsSurroundings } from '../../../src/kms/aws/connection.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import type { GeneratedKey, KmsClient } from '../../../src/kms/client.ts';
import type { AttemptOutcome } from '../../../src/kms/observer.ts';
import { type Deadline, startDeadline } from '../../../src/kms/retry.ts';
import { Secrets } from '../../../src/secrets.ts';
import { expectKeyError } from '../expect-error.ts';
import { forwarding, listening } from '../fronts.ts';
import { cleanUp, scratchDirectory } from '../scratch.ts';
import { Issuer } from './issuer.ts';

const ALIAS = 'alias/a';
/** Longer than a busy machine needs to load the SDK. */
const DEADLINE_MS = 60_000;

export interface SceneOptions {
  /** Default: the endpoint of the embedded KMS. */
  readonly endpointUrl?: string;
  readonly requestTimeoutMs?: number;
  readonly surroundings?: Partial<AwsSurroundings>;
}

/** Makes the pause before a second attempt longer than the deadline. */
const NO_SECOND_ATTEMPT = 1_000;
/** A warning of Node's agents about a container endpoint that hangs; the SDK offers no way to turn it off. */
const TOLERATED_WARNING = /^@smithy\/node-http-handler - \[WARN\] a request has exceeded the configured 1000 ms/;

/** A home directory, an empty environment, and an embedded KMS that accepts what the issuer has given out. */
export interface Scene {
  readonly issuer: Issuer;
  readonly home: string;
  readonly kmsUrl: string;
  /** The embedded KMS behind `kmsUrl`, for injecting faults. */
  readonly kms: DevKms;
  /** Every call that reached KMS, also refused ones. */
  readonly calls: readonly CallRecord[];
  /** Variables of the environment; undefined unsets one. */
  environment(variables: Readonly<Record<string, string | undefined>>): void;
  /** Writes a file under the home directory, and returns its path. */
  file(path: string, text: string, mode?: number): string;
  client(options?: SceneOptions): Promise<KmsClient>;
  /** One GenerateDataKeyWithoutPlaintext; resolves to the access key that KMS was asked with. */
  use(client: KmsClient): Promise<string>;
  /** A Decrypt, likewise. */
  decrypt(client: KmsClient): Promise<string>;
  /** The error of a `use` that is not repeated, with no secret in it at any depth. */
  fails(client: KmsClient, code: ErrorCode, message: RegExp | string): Promise<KeyError>;
}

export async function startScene(): Promise<Scene> {
  const home = scratchDirectory();
  for (const name of Object.keys(process.env)) if (/^AWS_|_proxy$/i.test(name)) vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', home);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  const warnings = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  cleanUp(() => {
    // The agent's terminal is the server's log.
    const texts = warnings.mock.calls.map((call) => call.join(' ')).filter((text) => !TOLERATED_WARNING.test(text));
    warnings.mockRestore();
    vi.unstubAllEnvs();
    vi.useRealTimers();
    expect(texts).toEqual([]);
  });

  const issuer = new Issuer();
  const calls: CallRecord[] = [];
  const kms = await startDevKms({
    clock: systemClock,
    aliases: [ALIAS],
    accessKeys: issuer.accessKeys,
    onCall: (call) => calls.push(call),
  });
  cleanUp(() => kms.close());
  const kmsUrl = await datedFront(kms.url);
  let wrapped: Uint8Array | undefined;

  const calling = async <T>(client: KmsClient, random: number, call: CallerAction<T>): Promise<T> => {
    const outcomes: AttemptOutcome[] = [];
    const deadline = startDeadline(systemClock, DEADLINE_MS);
    const observer = {
      attemptStarted: () => undefined,
      attemptEnded: (_: unknown, __: unknown, outcome: AttemptOutcome) => void outcomes.push(outcome),
    };
    try {
      return await call(new KmsCaller([client], systemClock, () => random, observer), deadline);
    } finally {
      deadline.cancel();
      expectNoSecret(issuer, outcomes);
    }
  };
  const lastKey = (): string => calls.at(-1)?.accessKeyId ?? '';

  const scene: Scene = {
    issuer,
    home,
    kmsUrl,
    kms,
    calls,
    environment(variables) {
      for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
    },
    file(path, text, mode = 0o600) {
      const full = join(home, path);
      mkdirSync(dirname(full), { recursive: true });
      writeFileSync(full, text, { mode });
      return full;
    },
    async client({ requestTimeoutMs = 0, surroundings = {}, endpointUrl = kmsUrl } = {}) {
      const made = await createAwsKmsClient(
        { region: 'us-east-1', endpointUrl, requestTimeoutMs },
        {
          proxyEnvironment: {},
          trustedCertificates: undefined,
          clock: systemClock,
          environment: process.env,
          secrets: new Secrets(),
          ...surroundings,
        },
      );
      cleanUp(() => made.close());
      return made;
    },
    async use(client) {
      wrapped = (await calling(client, 0.5, generate)).wrapped;
      return lastKey();
    },
    async decrypt(client) {
      const request = {
        wrapped: wrapped ?? new Uint8Array(),
        masterKeyArn: kms.keyArns[0],
        keySpec: undefined,
        keyCheckValue: undefined,
        encryptionContext: {},
      };
      await calling(client, 0.5, (caller, deadline) => caller.decrypt('key 1 version 1', request, deadline));
      return lastKey();
    },
    async fails(client, code, message) {
      const error = await expectKeyError(calling(client, NO_SECOND_ATTEMPT, generate), code, message);
      expectNoSecret(issuer, error);
      return error;
    },
  };
  return scene;
}

type CallerAction<T> = (caller: KmsCaller, deadline: Deadline) => Promise<T>;

const generate = (caller: KmsCaller, deadline: Deadline): Promise<GeneratedKey> =>
  caller.generate('key 1 version 1', { masterKeyId: ALIAS, keySpec: 'AES_128', encryptionContext: {} }, deadline);

/** Credentials of a profile, as lines of a shared file. */
export function keysOf(key: {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}): string {
  const token = key.sessionToken === undefined ? '' : `aws_session_token = ${key.sessionToken}\n`;
  return `aws_access_key_id = ${key.accessKeyId}\naws_secret_access_key = ${key.secretAccessKey}\n${token}`;
}

/** Moves the wall clock: the SDK's, the stand-ins' and the embedded KMS's. */
export function moveClock(ms: number): void {
  const now = Date.now();
  if (!vi.isFakeTimers()) vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + ms);
}

function expectNoSecret({ secrets }: Issuer, value: unknown): void {
  const shown = inspect(value, { depth: 50, maxStringLength: null, maxArrayLength: null });
  const texts = value instanceof KeyError ? shown + value.message + value.hint : shown;
  for (const secret of secrets) {
    expect(texts).not.toContain(secret);
    // JSON.parse quotes the beginning of what it cannot read.
    expect(texts).not.toContain(secret.slice(0, 20));
  }
}

/** Passes requests on unchanged, and dates the answers by the clock that tests move; see `standIn`. */
async function datedFront(target: string): Promise<string> {
  const dated = forwarding(target, (headers) => ({ ...headers, date: new Date().toUTCString() }));
  return `http://127.0.0.1:${await listening(createServer(dated))}`;
}
