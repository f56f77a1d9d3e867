import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../../src/cli/system.ts';
import { credentialChain } from '../../../../../src/kms/aws/credentials/chain.ts';
import { Secrets } from '../../../../../src/secrets.ts';
import { type InstanceStandIn, startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import { processDocument } from '../../../../support/aws-stand-ins/issuer.ts';
import { keysOf, type Scene, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';

/** A machine with a role of its own, which instance metadata hands out to whoever asks. */
async function machineWithRole(): Promise<{ scene: Scene; instance: InstanceStandIn }> {
  const scene = await startScene();
  const [sts, instance] = await Promise.all([startSts(scene.issuer), startInstance(scene.issuer)]);
  scene.environment({
    AWS_EC2_METADATA_DISABLED: undefined,
    AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url,
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  return { scene, instance };
}

const EIGHT = Array.from({ length: 8 });

interface Broken {
  readonly what: string;
  readonly make: (scene: Scene) => void;
  readonly said: RegExp;
}

const BROKEN: readonly Broken[] = [
  {
    what: 'a credential_process that fails',
    make: (scene) =>
      void scene.file('.aws/config', "[default]\ncredential_process = sh -c 'echo no ticket >&2; exit 1'\n"),
    said: /: CredentialProcessFailed: credential_process of profile "default" failed: no ticket; instance metadata at \S+ is another identity and is not used$/,
  },
  {
    what: 'a credential_process that is not there',
    make: (scene) => void scene.file('.aws/config', '[default]\ncredential_process = /nowhere/source\n'),
    said: /: CredentialProcessFailed: .* failed: \/bin\/sh: 1: \/nowhere\/source: not found; instance metadata/,
  },
  {
    what: 'a profile that is not there',
    make: (scene) => scene.environment({ AWS_PROFILE: 'nobody' }),
    said: /: ProfileUnusable: profile "nobody" is not in /,
  },
  {
    what: 'a profile that names no source',
    make: (scene) => {
      scene.file('.aws/config', '[profile empty]\nregion = eu-central-1\n');
      scene.environment({ AWS_PROFILE: 'empty' });
    },
    said: /: ProfileUnusable: profile "empty" is not in .*, or names no source of credentials there$/,
  },
  {
    what: 'a profile named by AWS_DEFAULT_PROFILE',
    make: (scene) => {
      scene.file('.aws/credentials', `[keys]\n${keysOf(scene.issuer.user())}`);
      scene.environment({ AWS_DEFAULT_PROFILE: 'keys' });
    },
    said: /: ProfileUnusable: AWS_DEFAULT_PROFILE is set, which is not read: set AWS_PROFILE$/,
  },
  {
    what: 'role_arn without a source, beside keys',
    make: (scene) =>
      void scene.file('.aws/credentials', `[default]\nrole_arn = ${ROLE}\n${keysOf(scene.issuer.user())}`),
    said: /: ProfileUnusable: profile "default" has role_arn and no source_profile, credential_source or web_identity_token_file$/,
  },
  {
    what: 'role_arn with two sources, beside keys',
    make: (scene) =>
      void scene.file(
        '.aws/credentials',
        `[default]\nrole_arn = ${ROLE}\nsource_profile = base\ncredential_source = Environment\n${keysOf(scene.issuer.user())}`,
      ),
    said: /: ProfileUnusable: profile "default" has both source_profile and credential_source beside role_arn$/,
  },
  {
    what: 'role_arn without a source in the source profile',
    make: (scene) =>
      void scene.file(
        '.aws/config',
        `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n[profile base]\nrole_arn = ${ROLE}\n`,
      ),
    said: /: ProfileUnusable: profile "base" has role_arn and no source_profile, /,
  },
  {
    what: 'a source profile that is not there',
    make: (scene) => void scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n`),
    said: /: ProfileUnusable: profile "base" is not in /,
  },
  {
    what: 'a source profile whose credential_process fails',
    make: (scene) =>
      void scene.file(
        '.aws/config',
        `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n[profile base]\ncredential_process = false\n`,
      ),
    said: /: CredentialProcessFailed: credential_process of profile "default" failed; instance metadata/,
  },
  {
    what: 'mfa_serial whose source fails',
    make: (scene) =>
      void scene.file(
        '.aws/config',
        `[default]\nrole_arn = ${ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/u\n[profile base]\ncredential_process = false\n`,
      ),
    said: /: MfaRequired: profile "default" asks for a multi-factor code \(mfa_serial\)$/,
  },
  {
    what: 'mfa_serial in a source profile whose own source fails',
    make: (scene) =>
      void scene.file(
        '.aws/config',
        `[default]\nrole_arn = ${ROLE}\nsource_profile = hub\n[profile hub]\nrole_arn = ${ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/u\n[profile base]\ncredential_process = false\n`,
      ),
    said: /: MfaRequired: profile "hub" asks for /,
  },
  {
    what: 'half a credentials file',
    make: (scene) => void scene.file('.aws/credentials', '[default]\naws_access_key_id = AKIA\n'),
    said: /: PartialProfile: profile "default" has aws_access_key_id and not aws_secret_access_key$/,
  },
  {
    what: 'the other half of a credentials file',
    make: (scene) =>
      void scene.file('.aws/credentials', `[default]\naws_secret_access_key = ${scene.issuer.secret('key')}\n`),
    said: /: PartialProfile: profile "default" has aws_secret_access_key and not aws_access_key_id$/,
  },
  {
    what: 'half of the variables',
    make: (scene) => scene.environment({ AWS_ACCESS_KEY_ID: 'AKIA' }),
    said: /: PartialEnvironment: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not$/,
  },
  {
    what: 'an SSO session that nobody opened',
    make: (scene) =>
      void scene.file(
        '.aws/config',
        '[default]\nsso_start_url = https://k/start\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = keys\n',
      ),
    said: /: SsoSessionExpired: profile "default": /,
  },
  {
    what: 'half of an SSO profile',
    make: (scene) => void scene.file('.aws/config', '[default]\nsso_account_id = 1\n'),
    said: /: SsoRefused: profile "default", SSO: /,
  },
  {
    what: 'an `aws login` session that nobody opened',
    make: (scene) =>
      void scene.file('.aws/config', '[default]\nlogin_session = arn:aws:iam::111122223333:user/alice\n'),
    said: /: LoginSessionUnusable: profile "default": Failed to load token from /,
  },
  {
    what: 'a web identity without a role',
    make: (scene) =>
      scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', scene.issuer.secret('web')) }),
    said: /: WebIdentityIncomplete: /,
  },
  {
    what: 'a web identity whose token file is not there',
    make: (scene) => scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: '/nowhere/token', AWS_ROLE_ARN: ROLE }),
    said: /: WebIdentityTokenUnreadable: /,
  },
  {
    what: 'a credentials file that is named and is not there',
    make: (scene) => scene.environment({ AWS_SHARED_CREDENTIALS_FILE: '/nowhere/credentials' }),
    said: /: SharedFileUnreadable: cannot read \/nowhere\/credentials \(ENOENT\)$/,
  },
  {
    what: 'a credentials file in its usual place that cannot be read',
    make: (scene) => void mkdirSync(join(scene.home, '.aws/credentials'), { recursive: true }),
    said: /: SharedFileUnreadable: cannot read .*\/\.aws\/credentials \(EISDIR\)$/,
  },
];

function chainOptions(): Parameters<typeof credentialChain>[1] {
  const { env: environment } = process;
  return { environment, clientConfig: {}, timeoutMs: 60_000, clock: systemClock, secrets: new Secrets() };
}

describe("the machine's own role does not replace a configured source that fails", () => {
  it.each(BROKEN)('$what', async ({ make, said }) => {
    const { scene } = await machineWithRole();
    make(scene);
    const client = await scene.client();
    await scene.fails(client, 'KMS_OPERATOR', said);
    // Another call is refused as well.
    await scene.fails(client, 'KMS_OPERATOR', said);
    expect(scene.calls).toEqual([]);
  });

  it('when eight callers ask at once, and only the first goes through the chain', async () => {
    const { scene } = await machineWithRole();
    scene.file('.aws/config', '[default]\ncredential_process = false\n');
    const client = await scene.client();
    await Promise.all(EIGHT.map(() => scene.fails(client, 'KMS_OPERATOR', /: CredentialProcessFailed: /)));
    expect(scene.calls).toEqual([]);

    const options = chainOptions();
    const chain = credentialChain({}, options);
    for (const round of ['first', 'again']) {
      const outcomes = await Promise.allSettled(EIGHT.map(() => chain()));
      expect(new Set(outcomes.map(({ status }) => status)), round).toEqual(new Set(['rejected']));
    }
  });

  it('when a pipe without a writer is in place of a shared file, without waiting', async () => {
    const { scene } = await machineWithRole();
    const fifo = join(scene.home, 'config');
    execFileSync('mkfifo', [fifo]);
    scene.environment({ AWS_CONFIG_FILE: fifo });
    const options = chainOptions();
    await expect(credentialChain({}, options)()).rejects.toMatchObject({
      name: 'SharedFileUnreadable',
      message: expect.stringContaining(fifo),
    });
  });

  it('and the configured source is used once it works', async () => {
    const { scene } = await machineWithRole();
    const key = scene.issuer.session();
    const answer = join(scene.home, 'answer.json');
    scene.file('.aws/config', `[default]\ncredential_process = cat ${answer}\n`);
    const client = await scene.client();
    await scene.fails(client, 'KMS_OPERATOR', /: CredentialProcessFailed: /);
    scene.file('answer.json', JSON.stringify(processDocument(key)));
    expect(await scene.use(client)).toBe(key.accessKeyId);
  });
});

describe("the machine's own role is used", () => {
  it.each<[string, (scene: Scene) => void]>([
    ['when nothing else is set up', () => undefined],
    [
      'when the default profile names a Region only',
      (scene) => void scene.file('.aws/config', '[default]\nregion = us-east-1\n'),
    ],
    [
      'when a file has other profiles only',
      (scene) => void scene.file('.aws/credentials', `[other]\n${keysOf(scene.issuer.user())}`),
    ],
    ['when AWS_ROLE_ARN alone is left over', (scene) => scene.environment({ AWS_ROLE_ARN: ROLE })],
  ])('%s', async (_, make) => {
    const { scene } = await machineWithRole();
    make(scene);
    expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  });

  it('through the profile that names it as its source', async () => {
    const { scene, instance } = await machineWithRole();
    scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\ncredential_source = Ec2InstanceMetadata\n`);
    expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
    expect(instance.asked.length).toBeGreaterThan(0);
  });
});

describe('keys with invalid characters', () => {
  it.each([
    ['AWS_ACCESS_KEY_ID', '\n', 'ends with a line feed'],
    ['AWS_SECRET_ACCESS_KEY', '\n', 'ends with a line feed'],
    ['AWS_SESSION_TOKEN', '\r\n', 'ends with a line feed'],
    ['AWS_SECRET_ACCESS_KEY', ' ', 'ends with a blank'],
    ['AWS_ACCESS_KEY_ID', '\u00a0', 'ends with a blank'],
    ['AWS_SESSION_TOKEN', 'ü', 'has a character that it cannot have, at position '],
  ])('in %s (%j at its end) are named before any request', async (name, end, problem) => {
    const scene = await startScene();
    const { accessKeyId, secretAccessKey, sessionToken } = scene.issuer.session();
    const variables: Record<string, string> = {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SESSION_TOKEN: sessionToken,
    };
    scene.environment({ ...variables, [name]: `${variables[name]}${end}` });
    const client = await scene.client();
    const error = await scene.fails(client, 'KMS_OPERATOR', new RegExp(`: CredentialsMalformed: ${name} ${problem}`));
    expect(error.hint).toContain('echo -n');
    expect(scene.calls).toEqual([]);
    scene.environment(variables);
    expect(await scene.use(await scene.client())).toBe(accessKeyId);
  });

  it.each([
    ['AccessKeyId', 'AKIA\n', 'the access key id ends with a line feed'],
    ['SecretAccessKey', 'two words of it', 'the secret access key has a character that it cannot have, at position 4'],
    ['Expiration', 'tomorrow', 'the expiration is no date'],
  ])(
    'in the %s that a credential process prints are named, and its next answer is taken',
    async (member, value, problem) => {
      const scene = await startScene();
      const key = scene.issuer.session();
      const document = processDocument(key);
      const answer = scene.file('answer.json', JSON.stringify({ ...document, [member]: value }));
      scene.file('.aws/config', `[default]\ncredential_process = cat ${answer}\n`);
      const client = await scene.client();
      await scene.fails(
        client,
        'KMS_OPERATOR',
        new RegExp(`: CredentialsMalformed: credential_process of profile "default": ${problem}$`),
      );
      rmSync(answer);
      scene.file('answer.json', JSON.stringify(document));
      expect(await scene.use(client)).toBe(key.accessKeyId);
    },
  );
});
