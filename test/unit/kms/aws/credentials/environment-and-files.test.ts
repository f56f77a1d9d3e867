import { expect, it } from 'vitest';
import { processDocument } from '../../../../support/aws-stand-ins/issuer.ts';
import { keysOf, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';

it('the agent uses keys from the environment', async () => {
  const scene = await startScene();
  const key = scene.issuer.user();
  scene.environment({ AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey });
  expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
});

it.each(['AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE'])(
  'the agent uses keys from the environment when the file that %s names does not exist',
  async (name) => {
    const scene = await startScene();
    const key = scene.issuer.user();
    scene.environment({
      AWS_ACCESS_KEY_ID: key.accessKeyId,
      AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
      [name]: '/nowhere/file',
    });
    expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
    scene.environment({ AWS_PROFILE: 'keys' });
    await scene.fails(await scene.client(), 'KMS_OPERATOR', /: SharedFileUnreadable: cannot read \/nowhere\/file /);
  },
);

it('the agent uses session credentials from the environment', async () => {
  const scene = await startScene();
  const key = scene.issuer.session();
  scene.environment({
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_SESSION_TOKEN: key.sessionToken,
  });
  expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
});

it('the agent uses keys from the shared credentials file in HOME', async () => {
  const scene = await startScene();
  const key = scene.issuer.session();
  scene.file('.aws/credentials', `[default]\n${keysOf(key)}`);
  expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
});

it('the agent uses keys from the file that AWS_SHARED_CREDENTIALS_FILE names', async () => {
  const scene = await startScene();
  const key = scene.issuer.user();
  scene.environment({ AWS_SHARED_CREDENTIALS_FILE: scene.file('elsewhere', `[default]\n${keysOf(key)}`) });
  expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
});

it('the agent uses the profile that AWS_PROFILE names from the config file', async () => {
  const scene = await startScene();
  const [other, key] = [scene.issuer.user(), scene.issuer.user()];
  scene.file('.aws/config', `[default]\n${keysOf(other)}\n[profile keys]\n${keysOf(key)}`);
  scene.environment({ AWS_PROFILE: 'keys' });
  expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
});

it('the agent assumes the role of a profile with the keys of its source profile', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const base = scene.issuer.user();
  scene.file('.aws/credentials', `[base]\n${keysOf(base)}`);
  scene.file(
    '.aws/config',
    `[profile keys]\nrole_arn = ${ROLE}\nsource_profile = base\nexternal_id = e-1\nrole_session_name = db\n`,
  );
  scene.environment({ AWS_PROFILE: 'keys', AWS_ENDPOINT_URL_STS: sts.url });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sts.calls).toEqual([
    expect.objectContaining({
      Action: 'AssumeRole',
      RoleArn: ROLE,
      ExternalId: 'e-1',
      RoleSessionName: 'db',
      signedBy: base.accessKeyId,
    }),
  ]);
});

it('the agent assumes a role through another role', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const base = scene.issuer.user();
  scene.file('.aws/credentials', `[base]\n${keysOf(base)}`);
  scene.file(
    '.aws/config',
    `[profile keys]\nrole_arn = ${ROLE}\nsource_profile = hub\n[profile hub]\nrole_arn = ${ROLE}-hub\nsource_profile = base\n`,
  );
  scene.environment({ AWS_PROFILE: 'keys', AWS_ENDPOINT_URL_STS: sts.url });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sts.calls.map(({ RoleArn, signedBy }) => [RoleArn, signedBy?.slice(0, 4)])).toEqual([
    [`${ROLE}-hub`, 'AKIA'],
    [ROLE, 'ASIA'],
  ]);
});

it('the agent assumes the role of a profile with the keys of the environment', async () => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const key = scene.issuer.user();
  scene.file('.aws/config', `[profile keys]\nrole_arn = ${ROLE}\ncredential_source = Environment\n`);
  scene.environment({
    AWS_PROFILE: 'keys',
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
  });
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sts.calls).toEqual([expect.objectContaining({ RoleArn: ROLE, signedBy: key.accessKeyId })]);
});

it.each(['without', 'with'])('the agent uses the output of a credential process, %s an expiry', async (expiry) => {
  const scene = await startScene();
  const key = expiry === 'with' ? scene.issuer.session() : scene.issuer.user();
  const answer = scene.file('answer.json', JSON.stringify(processDocument(key)));
  const script = scene.file('source.sh', `#!/bin/sh\ncat ${answer}\n`, 0o700);
  scene.file('.aws/config', `[default]\ncredential_process = ${script} --for keys\n`);
  expect(await scene.use(await scene.client())).toBe(key.accessKeyId);
});
