import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { startContainer } from '../../../../support/aws-stand-ins/container.ts';
import { startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import { HOUR_MS, processDocument } from '../../../../support/aws-stand-ins/issuer.ts';
import type { Reply, Silence } from '../../../../support/aws-stand-ins/loopback.ts';
import { keysOf, moveClock, type Scene, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSso } from '../../../../support/aws-stand-ins/sso.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';
const DAYS = 3;

interface Source {
  readonly name: string;
  /** Sets the source up; returns a function that makes it fail. */
  readonly set: (scene: Scene) => Promise<(trouble: Reply | Silence | undefined) => void>;
  /** The name of the failure. */
  readonly failure: RegExp;
  /** The name when the source does not answer, where that looks like an operator's mistake. */
  readonly silence?: RegExp;
}

const SOURCES: readonly Source[] = [
  {
    name: 'an assumed role',
    failure: /CredentialService\w+: profile "default", STS: /,
    set: async (scene) => {
      const sts = await startSts(scene.issuer);
      scene.file('.aws/credentials', `[base]\n${keysOf(scene.issuer.user())}`);
      scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n`);
      scene.environment({ AWS_ENDPOINT_URL_STS: sts.url });
      return (trouble) => {
        sts.trouble = trouble;
      };
    },
  },
  {
    name: 'web identity',
    failure: /CredentialService\w+: web identity, STS: /,
    set: async (scene) => {
      const sts = await startSts(scene.issuer);
      scene.environment({
        AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
        AWS_ROLE_ARN: ROLE,
        AWS_ENDPOINT_URL_STS: sts.url,
      });
      return (trouble) => {
        sts.trouble = trouble;
      };
    },
  },
  {
    name: 'SSO',
    failure: /CredentialService\w+: profile "default", SSO: |CredentialsTimeout: profile "default" did not answer/,
    set: async (scene) => {
      const sso = await startSso(scene.issuer);
      scene.file(
        '.aws/config',
        '[default]\nsso_start_url = https://k/start\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = keys\n',
      );
      const expiresAt = new Date(Date.now() + 30 * 24 * HOUR_MS).toISOString();
      const name = createHash('sha1').update('https://k/start').digest('hex');
      scene.file(`.aws/sso/cache/${name}.json`, JSON.stringify({ accessToken: sso.accessToken, expiresAt }));
      scene.environment({ AWS_ENDPOINT_URL_SSO: sso.url });
      return (trouble) => {
        sso.trouble = trouble;
      };
    },
  },
  {
    name: 'the container endpoint',
    failure: /ContainerEndpointTrouble: container endpoint 127\.0\.0\.1:\d+: |CredentialsTimeout: container endpoint /,
    set: async (scene) => {
      const container = await startContainer(scene.issuer);
      scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl });
      return (trouble) => {
        container.trouble = trouble;
      };
    },
  },
  {
    name: 'instance metadata',
    failure: /InstanceMetadata(?:Trouble|Unreachable): /,
    silence: /InstanceMetadataHopLimit: .* the request for a token is not answered$/,
    set: async (scene) => {
      const instance = await startInstance(scene.issuer);
      scene.environment({ AWS_EC2_METADATA_DISABLED: undefined, AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url });
      return (trouble) => {
        instance.trouble = trouble;
      };
    },
  },
];

const SERVER_ERROR: Reply = { status: 500, body: '' };

describe.each(SOURCES)('credentials from $name', ({ set, failure, silence }) => {
  it('are renewed before they expire, and used as long as they are good', async () => {
    const scene = await startScene();
    await set(scene);
    const client = await scene.client();
    const first = await scene.use(client);
    moveClock(HOUR_MS / 2);
    expect(await scene.use(client)).toBe(first);
    // From five minutes before the expiry on, the SDK renews in the background and still returns the old credentials.
    moveClock(HOUR_MS / 2 - 120_000);
    expect(await scene.use(client)).toBe(first);
    await expect.poll(() => scene.use(client), { timeout: 60_000 }).not.toBe(first);
    expect(scene.calls.map(({ error }) => error).filter(Boolean)).toEqual([]);
  });

  it('are missing only as long as the fault lasts', async () => {
    const scene = await startScene();
    const bring = await set(scene);
    const client = await scene.client({ requestTimeoutMs: 2_000 });
    const first = await scene.use(client);
    moveClock(2 * HOUR_MS);
    for (const trouble of [SERVER_ERROR, 'drop'] as const) {
      bring(trouble);
      await scene.fails(client, 'KMS_TRANSIENT', failure);
    }
    bring('hang');
    await scene.fails(client, silence === undefined ? 'KMS_TRANSIENT' : 'KMS_OPERATOR', silence ?? failure);
    bring(undefined);
    expect(await scene.use(client)).not.toBe(first);
  }, 120_000);

  it('are requested again in the call that misses them', async () => {
    const scene = await startScene();
    const bring = await set(scene);
    bring(SERVER_ERROR);
    setTimeout(() => bring(undefined), 200);
    expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  });

  it(`last for ${DAYS} days, an hour at a time`, async () => {
    const scene = await startScene();
    await set(scene);
    // Slightly less than a step, so that every step finds them expired.
    scene.issuer.lifetimeMs = HOUR_MS - 1_000;
    const client = await scene.client();
    await scene.use(client);
    const keys = new Set<string>();
    for (let hour = 1; hour <= DAYS * 24; hour += 1) {
      moveClock(HOUR_MS);
      keys.add(await scene.decrypt(client));
    }
    expect(keys.size).toBe(DAYS * 24);
    expect(scene.calls.map(({ error }) => error).filter(Boolean)).toEqual([]);
  });
});

it('credentials that expire in this very moment are replaced in the same call', async () => {
  const scene = await startScene();
  const container = await startContainer(scene.issuer);
  scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl });
  const client = await scene.client();
  moveClock(0);
  const first = await scene.use(client);
  // The SDK still returns the old credentials here, and KMS refuses them.
  moveClock(HOUR_MS);
  expect(await scene.use(client)).not.toBe(first);
  expect(scene.calls.map(({ error }) => error)).toEqual(['', 'ExpiredTokenException', '']);
});

it('credentials that a process prints are renewed when they expire', async () => {
  const scene = await startScene();
  const answer = scene.file('answer.json', JSON.stringify(processDocument(scene.issuer.session())));
  scene.file('.aws/config', `[default]\ncredential_process = cat ${answer}\n`);
  const client = await scene.client();
  const first = await scene.use(client);
  moveClock(2 * HOUR_MS);
  // The process fails to renew them, and then does.
  const error = await scene.fails(
    client,
    'KMS_OPERATOR',
    /: CredentialProcessFailed: .* returned expired credentials$/,
  );
  expect(error.hint).toContain('by hand');
  writeFileSync(answer, JSON.stringify(processDocument(scene.issuer.session())));
  expect(await scene.use(client)).not.toBe(first);
});

it('session credentials in the shared file are read again when they have expired', async () => {
  const scene = await startScene();
  scene.file('.aws/credentials', `[default]\n${keysOf(scene.issuer.session())}`);
  const client = await scene.client();
  const first = await scene.use(client);
  moveClock(2 * HOUR_MS);
  const error = await scene.fails(client, 'KMS_OPERATOR', /: ExpiredTokenException: /);
  expect(error.hint).toContain('the credentials have expired');
  scene.file('.aws/credentials', `[default]\n${keysOf(scene.issuer.session())}`);
  expect(await scene.use(client)).not.toBe(first);
});

it('an agent with many requests under way asks for new credentials once', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  scene.environment({
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
    AWS_ROLE_ARN: ROLE,
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  const client = await scene.client();
  await scene.use(client);
  moveClock(2 * HOUR_MS);
  await Promise.all(Array.from({ length: 8 }, () => scene.use(client)));
  expect(sts.calls).toHaveLength(2);
});
