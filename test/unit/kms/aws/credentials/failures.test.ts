import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { startContainer } from '../../../../support/aws-stand-ins/container.ts';
import { processDocument } from '../../../../support/aws-stand-ins/issuer.ts';
import { keysOf, type Scene, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSts, stsError } from '../../../../support/aws-stand-ins/sts.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';

async function webIdentity() {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const file = scene.file('token', sts.webIdentityToken);
  scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: ROLE, AWS_ENDPOINT_URL_STS: sts.url });
  return { scene, sts, file };
}

async function assumedRole() {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  scene.file('.aws/credentials', `[base]\n${keysOf(scene.issuer.user())}`);
  scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n`);
  scene.environment({ AWS_ENDPOINT_URL_STS: sts.url });
  return { scene, sts };
}

describe('missing credentials', () => {
  it('are reported', async () => {
    const scene = await startScene();
    const error = await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      /: CredentialsProviderError: Could not load credentials from any providers$/,
    );
    expect(error.hint).toContain('give the server an identity');
  });

  it.each([
    ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
    ['AWS_SECRET_ACCESS_KEY', 'AWS_ACCESS_KEY_ID'],
  ])('are reported for an environment with %s alone', async (present, absent) => {
    const scene = await startScene();
    scene.environment({ [present]: scene.issuer.secret('key') });
    const error = await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      new RegExp(`: PartialEnvironment: ${present} is set and ${absent} is not$`),
    );
    expect(error.hint).toContain('set both');
  });

  it.each(['AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE'])(
    'are reported for a missing file that %s names',
    async (name) => {
      const scene = await startScene();
      scene.environment({ [name]: join(scene.home, 'nothing') });
      const error = await scene.fails(
        await scene.client(),
        'KMS_OPERATOR',
        new RegExp(`: SharedFileUnreadable: cannot read ${scene.home}/nothing \\(ENOENT\\)$`),
      );
      expect(error.hint).toContain(name);
    },
  );

  it('are reported for a shared file that cannot be read', async () => {
    const scene = await startScene();
    // A directory cannot be read as a file, even by root, who can read a file of mode 000.
    mkdirSync(join(scene.home, '.aws/credentials'), { recursive: true });
    await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      new RegExp(`: SharedFileUnreadable: cannot read ${scene.home}/.aws/credentials \\(EISDIR\\)$`),
    );
  });
});

describe('a profile', () => {
  it('that does not exist is named, with the files', async () => {
    const scene = await startScene();
    scene.environment({ AWS_PROFILE: 'keys' });
    const error = await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      new RegExp(
        `: ProfileUnusable: profile "keys" is not in ${scene.home}/.aws/config or ${scene.home}/.aws/credentials, `,
      ),
    );
    expect(error.hint).toContain('AWS_PROFILE');
  });

  it('whose source profile does not exist names that one', async () => {
    const { scene } = await assumedRole();
    rmSync(join(scene.home, '.aws/credentials'));
    await scene.fails(await scene.client(), 'KMS_OPERATOR', /: ProfileUnusable: profile "base" is not in /);
  });

  it('with an unknown credential_source is named', async () => {
    const scene = await startScene();
    scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\ncredential_source = Ec2\n`);
    await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      /: ProfileUnusable: profile "default": Unsupported credential source in profile default\. Got Ec2, /,
    );
  });

  it('that needs an MFA code is named', async () => {
    const { scene } = await assumedRole();
    scene.file(
      '.aws/config',
      `[default]\nrole_arn = ${ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/u\n`,
    );
    const error = await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      /: MfaRequired: profile "default" asks for a /,
    );
    expect(error.hint).toContain('mariadb-aws-kms login --mfa-serial');
  });
});

/** Longer than a busy machine needs. */
const PATIENCE = { timeout: 40_000, interval: 50 };

/** False for a process that has ended and waits for its parent (a zombie). */
function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}/status`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

describe('a credential process', () => {
  async function stage(command: (scene: Scene) => string) {
    const scene = await startScene();
    scene.file('.aws/config', `[default]\ncredential_process = ${command(scene)}\n`);
    return scene;
  }

  it.each<[string, (scene: Scene) => string, RegExp]>([
    [
      'fails',
      ({ issuer }) =>
        `sh -c 'echo first >&2; echo no ticket: ${issuer.secret('printed')} $0 >&2; exit 3' ${issuer.secret('argument')} `,
      /: CredentialProcessFailed: credential_process of profile "default" failed: no \(hidden\) \(hidden\) \(hidden\)$/,
    ],
    [
      'is not there',
      () => '/nowhere/source',
      /: CredentialProcessFailed: .* failed: \/bin\/sh: 1: \/nowhere\/source: not found$/,
    ],
    [
      'prints no JSON',
      ({ issuer }) => `echo ${issuer.secret('printed')}`,
      /: CredentialProcessFailed: .* returned invalid JSON$/,
    ],
    ['prints another version', () => `echo '{"Version":2}'`, /: CredentialProcessFailed: .* did not return Version 1$/],
    ['prints no keys', () => `echo '{"Version":1}'`, /: CredentialProcessFailed: .* returned invalid credentials$/],
  ])(
    'that %s is named, with its last line of output, without its arguments and secrets',
    async (_, command, message) => {
      const scene = await stage(command);
      const error = await scene.fails(await scene.client(), 'KMS_OPERATOR', message);
      expect(error.hint).toContain('by hand');
    },
  );

  it('that hangs is named and ended, and does not delay the next one', async () => {
    const scene = await startScene();
    // Loading the SDK uses a part of the first limit.
    await scene.fails(await scene.client(), 'KMS_OPERATOR', /: Credentials/);
    const pidFile = scene.file('source.pid', '');
    // On a busy machine the process may be killed before it writes: then another one is started.
    const script = scene.file('source.sh', `#!/bin/sh\necho $$ >${pidFile}\nexec sleep 600\n`, 0o700);
    scene.file('.aws/config', `[default]\ncredential_process = ${script}\n`);
    const client = await scene.client({ requestTimeoutMs: 1000 });
    let pid = '';
    while (pid === '') {
      const error = await scene.fails(
        client,
        'KMS_TRANSIENT',
        /: CredentialsTimeout: credential_process of profile "default" did not answer in 3 s$/,
      );
      expect(error.hint).toContain('timeout 20 COMMAND');
      pid = readFileSync(pidFile, 'utf8').trim();
    }
    await vi.waitFor(() => expect(isRunning(pid)).toBe(false), PATIENCE);
    const key = scene.issuer.session();
    const answer = scene.file('answer.json', JSON.stringify(processDocument(key)));
    // A rename puts the file in place: the kernel executes no file that is open for writing.
    const next = scene.file('next.sh', `#!/bin/sh\ncat ${answer}\n`, 0o700);
    renameSync(next, script);
    await vi.waitFor(async () => expect(await scene.use(client)).toBe(key.accessKeyId), PATIENCE);
  }, 120_000);
});

describe('a web identity', () => {
  it.each(['is not there', 'cannot be read'])(
    'whose token file %s is named, and works once it can be read',
    async (what) => {
      const { scene, sts, file } = await webIdentity();
      rmSync(file);
      if (what === 'cannot be read') mkdirSync(file);
      const client = await scene.client();
      const [code, named] = what === 'cannot be read' ? ['EISDIR', ''] : ['ENOENT', `${file} `];
      const error = await scene.fails(
        client,
        'KMS_OPERATOR',
        new RegExp(`: WebIdentityTokenUnreadable: web identity: cannot read the token file ${named}\\(${code}\\)$`),
      );
      expect(error.hint).toContain('AWS_WEB_IDENTITY_TOKEN_FILE');
      rmSync(file, { recursive: true, force: true });
      writeFileSync(file, sts.webIdentityToken);
      expect(await scene.use(client)).toMatch(/^ASIA/);
    },
  );

  it('without a role is named', async () => {
    const { scene } = await webIdentity();
    scene.environment({ AWS_ROLE_ARN: undefined });
    const error = await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      /: WebIdentityIncomplete: AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not$/,
    );
    expect(error.hint).toContain('AWS_ROLE_ARN');
  });

  it.each([
    ['AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity', /trust policy of the role/],
    ['InvalidIdentityToken', 'No OpenIDConnect provider found in your account for https://o', /OIDC provider/],
    [
      'ExpiredTokenException',
      'Token expired: current date/time 1 must be before the expiration 0',
      /web identity token/,
    ],
    ['IDPRejectedClaim', 'The claim was rejected', /service account/],
    ['RegionDisabledException', 'STS is not activated in this region', /activate STS/],
    ['ValidationError', 'Request ARN is invalid', /ARN of the role/],
  ])('that STS refuses with %s has a hint', async (code, text, hint) => {
    const { scene, sts } = await webIdentity();
    sts.trouble = stsError(code, text, code === 'AccessDenied' ? 403 : 400);
    const client = await scene.client();
    const error = await scene.fails(
      client,
      'KMS_OPERATOR',
      new RegExp(`failed: ${code}(?:Exception)?: web identity, STS: ${text} \\(request request-of-stand-in\\)$`),
    );
    expect(error.hint).toMatch(hint);
    sts.trouble = undefined;
    expect(await scene.use(client)).toMatch(/^ASIA/);
  });

  it('whose STS is overloaded is retried', async () => {
    const { scene, sts } = await webIdentity();
    sts.trouble = stsError('Throttling', 'Rate exceeded');
    const error = await scene.fails(
      await scene.client(),
      'KMS_TRANSIENT',
      /: CredentialServiceTrouble: web identity, STS: Throttling \(request request-of-stand-in\)$/,
    );
    expect(error.hint).toContain('STS');
  });

  it('whose STS cannot be reached is distinguished from an unreachable KMS', async () => {
    const { scene } = await webIdentity();
    scene.environment({ AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1' });
    const error = await scene.fails(
      await scene.client(),
      'KMS_TRANSIENT',
      /: CredentialServiceUnreachable: web identity, STS: connect ECONNREFUSED 127\.0\.0\.1:1$/,
    );
    expect(error.hint).toContain('before it can ask KMS');
  });
});

it('a role that does not trust the user of the profile is named', async () => {
  const { scene, sts } = await assumedRole();
  const text = `User: arn:aws:iam::1:user/u is not authorized to perform: sts:AssumeRole on resource: ${ROLE}`;
  sts.trouble = stsError('AccessDenied', text, 403);
  const error = await scene.fails(
    await scene.client(),
    'KMS_OPERATOR',
    new RegExp(`: AccessDenied: profile "default", STS: ${text} \\(request request-of-stand-in\\)$`),
  );
  expect(error.hint).toContain('trust policy of the role');
});

describe('a container endpoint', () => {
  async function stage(address?: string) {
    const scene = await startScene();
    const container = await startContainer(scene.issuer, address);
    container.token = scene.issuer.secret('container');
    const file = scene.file('token', container.token);
    scene.environment({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
    });
    return { scene, container, file, host: container.url.slice('http://'.length) };
  }

  // The SDK's second container provider knows 127.0.0.1, and neither EKS's addresses nor 127.0.0.2.
  it.each(['127.0.0.1', '127.0.0.2'])(
    'at %s that refuses the token is named, and not by the error of another provider',
    async (address) => {
      const { scene, container, host } = await stage(address);
      const accepted = container.token;
      container.token = scene.issuer.secret('container');
      const client = await scene.client();
      const error = await scene.fails(
        client,
        'KMS_OPERATOR',
        new RegExp(`: ContainerEndpointRefused: container endpoint ${host}: HTTP 403$`),
      );
      expect(error.hint).toContain('EKS Pod Identity association');
      container.token = accepted;
      expect(await scene.use(client)).toMatch(/^ASIA/);
    },
  );

  it('that fails is named', async () => {
    const { scene, container, host } = await stage('127.0.0.2');
    container.trouble = { status: 503, body: '' };
    await scene.fails(
      await scene.client(),
      'KMS_TRANSIENT',
      new RegExp(`: ContainerEndpointTrouble: container endpoint ${host}: HTTP 503$`),
    );
  });

  it('that is not to be trusted is named', async () => {
    const { scene } = await stage();
    scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://example.com/${scene.issuer.secret('path')}` });
    await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      /: ContainerEndpointRefused: container endpoint example\.com: URL not accepted\./,
    );
  });

  it('whose token file is not there is named', async () => {
    const { scene, file } = await stage();
    rmSync(file);
    const error = await scene.fails(
      await scene.client(),
      'KMS_OPERATOR',
      new RegExp(`: ContainerTokenUnreadable: container endpoint .*: cannot read the token file ${file} \\(ENOENT\\)$`),
    );
    expect(error.hint).toContain('AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE');
  });

  it('without a server is named', async () => {
    const { scene } = await stage();
    scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://[::1]:1/${scene.issuer.secret('path')}` });
    const error = await scene.fails(
      await scene.client(),
      'KMS_TRANSIENT',
      /: ContainerEndpointTrouble: container endpoint \[::1\]:1: connect \w+ ::1:1/,
    );
    expect(error.hint).toContain('EKS Pod Identity agent');
  });

  it.each([
    ['no JSON', 'the answer is no JSON'],
    ['too little', 'no usable credentials came'],
  ])('that answers %s is named, without the answer', async (what, problem) => {
    const { scene, container, host } = await stage();
    const secret = scene.issuer.secret('answer');
    container.trouble = { status: 200, body: what === 'no JSON' ? secret : JSON.stringify({ Token: secret }) };
    await scene.fails(
      await scene.client(),
      'KMS_TRANSIENT',
      new RegExp(`: ContainerEndpointTrouble: container endpoint ${host}: ${problem}`),
    );
  });
});
