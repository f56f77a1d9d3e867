import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { startContainer } from '../../../../support/aws-stand-ins/container.ts';
import { startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import { HOUR_MS } from '../../../../support/aws-stand-ins/issuer.ts';
import { moveClock, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';

it('the agent uses the role of a Kubernetes service account (IRSA)', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  scene.environment({
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
    AWS_ROLE_ARN: ROLE,
    AWS_ROLE_SESSION_NAME: 'db',
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sts.calls).toEqual([
    expect.objectContaining({
      Action: 'AssumeRoleWithWebIdentity',
      RoleArn: ROLE,
      RoleSessionName: 'db',
      signedBy: '',
    }),
  ]);
});

it('the agent reads the token of the service account again when the credentials are renewed', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const file = scene.file('token', sts.webIdentityToken);
  scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: ROLE, AWS_ENDPOINT_URL_STS: sts.url });
  const client = await scene.client();
  const first = await scene.use(client);
  sts.webIdentityToken = scene.issuer.secret('web-identity');
  writeFileSync(file, sts.webIdentityToken);
  moveClock(2 * HOUR_MS);
  expect(await scene.use(client)).not.toBe(first);
});

it('the agent uses the role of a profile with a web identity token file', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const file = scene.file('token', sts.webIdentityToken);
  scene.file('.aws/config', `[default]\nrole_arn = ${ROLE}\nweb_identity_token_file = ${file}\n`);
  scene.environment({ AWS_ENDPOINT_URL_STS: sts.url });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
});

it('the agent uses the role of the task from the container endpoint', async () => {
  const scene = await startScene();
  const container = await startContainer(scene.issuer);
  container.token = scene.issuer.secret('container');
  scene.environment({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: container.token,
  });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(container.asked).toHaveLength(1);
});

it('the agent uses the role of a pod from EKS Pod Identity, and reads the rotated token again', async () => {
  const scene = await startScene();
  const container = await startContainer(scene.issuer);
  container.token = scene.issuer.secret('container');
  const file = scene.file('eks-pod-identity-token', container.token);
  scene.environment({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
  });
  const client = await scene.client();
  const first = await scene.use(client);
  container.token = scene.issuer.secret('container');
  writeFileSync(file, container.token);
  moveClock(2 * HOUR_MS);
  const second = await scene.use(client);
  expect(second).toMatch(/^ASIA/);
  expect(second).not.toBe(first);
});

it('the agent uses the role of the instance, by IMDSv2', async () => {
  const scene = await startScene();
  const instance = await startInstance(scene.issuer);
  scene.environment({ AWS_EC2_METADATA_DISABLED: undefined, AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(instance.asked).toEqual([
    'PUT /latest/api/token',
    'GET /latest/meta-data/iam/security-credentials/',
    'GET /latest/meta-data/iam/security-credentials/database',
  ]);
});

it('the agent assumes a role with the role of the instance', async () => {
  const scene = await startScene();
  const [instance, sts] = await Promise.all([startInstance(scene.issuer), startSts(scene.issuer)]);
  scene.file('.aws/config', `[profile keys]\nrole_arn = ${ROLE}\ncredential_source = Ec2InstanceMetadata\n`);
  scene.environment({
    AWS_PROFILE: 'keys',
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_EC2_METADATA_DISABLED: undefined,
    AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url,
  });
  const used = await scene.use(await scene.client());
  expect(sts.calls.map(({ signedBy }) => signedBy?.slice(0, 4))).toEqual(['ASIA']);
  expect(used).not.toBe(sts.calls[0]?.['signedBy']);
});

it('the agent assumes a role with the role of the task', async () => {
  const scene = await startScene();
  const [container, sts] = await Promise.all([startContainer(scene.issuer), startSts(scene.issuer)]);
  scene.file('.aws/config', `[profile keys]\nrole_arn = ${ROLE}\ncredential_source = EcsContainer\n`);
  scene.environment({
    AWS_PROFILE: 'keys',
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl,
  });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sts.calls).toHaveLength(1);
});
