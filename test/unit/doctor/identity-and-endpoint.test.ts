import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { createKmsInspector } from '../../../src/kms/aws/inspector.ts';
import { Secrets } from '../../../src/secrets.ts';
import { credentialSource } from '../../../src/server/credential-source.ts';
import { startContainer } from '../../support/aws-stand-ins/container.ts';
import { startInstance } from '../../support/aws-stand-ins/instance.ts';
import { processDocument } from '../../support/aws-stand-ins/issuer.ts';
import { keysOf, type Scene, startScene } from '../../support/aws-stand-ins/scene.ts';
import { startSso } from '../../support/aws-stand-ins/sso.ts';
import { startSts } from '../../support/aws-stand-ins/sts.ts';
import { newPatient } from './patient.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';

async function sourceOf(scene: Scene): Promise<string> {
  const inspector = await createKmsInspector({
    region: 'us-east-1',
    endpointUrl: scene.kmsUrl,
    stsEndpointUrl: '',
    timeoutMs: 5_000,
    sharedFiles: undefined,
    environment: process.env,
    trustedCertificates: undefined,
    secrets: new Secrets(),
    clock: systemClock,
  });
  try {
    return credentialSource((await inspector.credentials()).marks);
  } finally {
    inspector.close();
  }
}

/** Sources of credentials, each beside the instance metadata of a machine with a role. */
const LINKS: Readonly<Record<string, (scene: Scene) => Promise<void> | void>> = {
  'AWS_* variables of the environment': (scene) => {
    const { accessKeyId, secretAccessKey } = scene.issuer.user();
    scene.environment({ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey });
  },
  'the shared credentials file': (scene) =>
    void scene.file('.aws/credentials', `[default]\n${keysOf(scene.issuer.user())}`),
  'credential_process of a profile': (scene) => {
    const answer = scene.file('answer.json', JSON.stringify(processDocument(scene.issuer.session())));
    scene.file('.aws/config', `[default]\ncredential_process = cat ${answer}\n`);
  },
  'a role that a profile assumes': async (scene) => {
    scene.environment({ AWS_ENDPOINT_URL_STS: (await startSts(scene.issuer)).url });
    scene.file('.aws/credentials', `[base]\n${keysOf(scene.issuer.user())}`);
    scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n`);
  },
  'an SSO session': async (scene) => {
    const portal = await startSso(scene.issuer);
    scene.environment({ AWS_ENDPOINT_URL_SSO: portal.url });
    const session = { accessToken: portal.accessToken, expiresAt: new Date(Date.now() + 3_600_000).toISOString() };
    const cached = createHash('sha1').update('https://k/start').digest('hex');
    scene.file(`.aws/sso/cache/${cached}.json`, JSON.stringify(session));
    scene.file(
      '.aws/config',
      '[default]\nsso_start_url = https://k/start\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = keys\n',
    );
  },
  'an `aws login` session': (scene) => {
    const arn = 'arn:aws:iam::111122223333:user/alice';
    const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = scene.issuer.session();
    const accessToken = {
      accessKeyId,
      secretAccessKey,
      sessionToken,
      accountId: '111122223333',
      expiresAt: new Date(expiresAt).toISOString(),
    };
    const token = { accessToken, clientId: 'c', refreshToken: scene.issuer.secret('refresh'), dpopKey: 'none' };
    scene.file(`.aws/login/cache/${createHash('sha256').update(arn).digest('hex')}.json`, JSON.stringify(token));
    scene.file('.aws/config', `[default]\nlogin_session = ${arn}\n`);
  },
  'a web identity token (IRSA)': async (scene) => {
    const sts = await startSts(scene.issuer);
    scene.environment({
      AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
      AWS_ROLE_ARN: ROLE,
      AWS_ENDPOINT_URL_STS: sts.url,
    });
  },
  'a container endpoint (ECS or EKS Pod Identity)': async (scene) => {
    const { credentialsUrl } = await startContainer(scene.issuer);
    scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: credentialsUrl });
  },
  'EC2 instance metadata': () => undefined,
};

it.each(Object.entries(LINKS))('doctor names the link that gave the credentials: %s', async (named, setUp) => {
  const scene = await startScene();
  const instance = await startInstance(scene.issuer);
  scene.environment({ AWS_EC2_METADATA_DISABLED: undefined, AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url });
  await setUp(scene);
  expect(await sourceOf(scene)).toBe(named);
});

describe('doctor', () => {
  it('tells that the session of a person expires', async () => {
    const patient = await newPatient();
    patient.spoil = (kms) => ({
      ...kms,
      credentials: async () => ({
        marks: ['CREDENTIALS_LOGIN'],
        accessKeyEnd: '0000',
        expiresMs: Date.now() + 7_200_000,
      }),
    });
    expect((await patient.examine()).problems).toContain(
      'from an `aws login` session: the session of a person, which ends after 12 hours at most',
    );
  });

  it('checks and prints the endpoint that the profile names', async () => {
    const patient = await newPatient({ options: { aws_key_management_endpoint_url: undefined } });
    const config = join(dirname(patient.credentials), 'config');
    mkdirSync(dirname(config), { recursive: true });
    writeFileSync(config, '[default]\nendpoint_url = http://kms.invalid:8080\n');
    patient.spoil = (kms) => ({
      ...kms,
      reach: async () => ({ dateMs: Date.now(), receivedMs: Date.now(), requestId: 'r', status: 400 }),
    });
    const { problems } = await patient.examine();
    expect(problems).toContain('endpoint_url of profile "default" is http: data keys cross the network readable');
  });

  it('reports that the profile takes precedence over AWS_DEFAULT_REGION', async () => {
    const patient = await newPatient({ options: { aws_key_management_region: undefined } });
    const config = join(dirname(patient.credentials), 'config');
    writeFileSync(config, '[default]\nregion = us-east-1\n');
    patient.environment['AWS_DEFAULT_REGION'] = 'eu-central-1';
    expect((await patient.examine()).problems).toContain(
      'AWS_DEFAULT_REGION is eu-central-1, and the profile names us-east-1, which the server asks',
    );
  });
});
