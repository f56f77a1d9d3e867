import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { startContainer } from '../../../../support/aws-stand-ins/container.ts';
import { startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import { type StandIn, standIn } from '../../../../support/aws-stand-ins/loopback.ts';
import { type Scene, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSso } from '../../../../support/aws-stand-ins/sso.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

/** A proxy that refuses all requests and records them. */
async function withProxy(scene: Scene): Promise<{ proxy: StandIn; surroundings: object }> {
  const proxy = await standIn(() => ({ status: 502, body: '' }));
  const variables = { HTTP_PROXY: proxy.url, http_proxy: proxy.url, HTTPS_PROXY: proxy.url, https_proxy: proxy.url };
  scene.environment(variables);
  // KMS is reached directly, so that only requests for credentials reach the proxy.
  return { proxy, surroundings: { proxyEnvironment: { ...variables, NO_PROXY: new URL(scene.kmsUrl).host } } };
}

it('no proxy is asked for the role of a container', async () => {
  const scene = await startScene();
  const container = await startContainer(scene.issuer);
  scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl });
  const { proxy, surroundings } = await withProxy(scene);
  expect(await scene.use(await scene.client({ surroundings }))).toMatch(/^ASIA/);
  expect(proxy.asked).toEqual([]);
});

it.each(['has a role', 'has none'])('no proxy is asked for the role of an instance that %s', async (what) => {
  const scene = await startScene();
  const instance = await startInstance(scene.issuer);
  if (what === 'has none') instance.role = undefined;
  scene.environment({ AWS_EC2_METADATA_DISABLED: undefined, AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url });
  const { proxy, surroundings } = await withProxy(scene);
  const client = await scene.client({ surroundings });
  if (what === 'has none') await scene.fails(client, 'KMS_OPERATOR', /InstanceMetadataNoRole/);
  else expect(await scene.use(client)).toMatch(/^ASIA/);
  expect(proxy.asked).toEqual([]);
});

it('STS and the SSO portal are reached through the proxy, as KMS is', async () => {
  const scene = await startScene();
  const [sts, sso] = await Promise.all([startSts(scene.issuer), startSso(scene.issuer)]);
  const { proxy, surroundings } = await withProxy(scene);
  scene.environment({
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
    AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/keys',
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_ENDPOINT_URL_SSO: sso.url,
  });
  const client = await scene.client({ surroundings });
  await scene.fails(client, 'KMS_TRANSIENT', /: CredentialServiceTrouble: web identity, STS: /);
  expect(proxy.asked).toHaveLength(1);

  const cached = createHash('sha1').update('https://k/start').digest('hex');
  const session = { accessToken: sso.accessToken, expiresAt: new Date(Date.now() + 3_600_000).toISOString() };
  scene.file(`.aws/sso/cache/${cached}.json`, JSON.stringify(session));
  const profile = 'sso_start_url = https://k/start\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = keys\n';
  scene.file('.aws/config', `[default]\n${profile}`);
  await scene.fails(client, 'KMS_TRANSIENT', /: CredentialServiceTrouble: profile "default", SSO: /);
  expect(proxy.asked).toHaveLength(2);
  expect([sts.asked, sso.asked]).toEqual([[], []]);
});
