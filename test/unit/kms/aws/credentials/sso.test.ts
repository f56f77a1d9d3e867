import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { HOUR_MS } from '../../../../support/aws-stand-ins/issuer.ts';
import { moveClock, type Scene, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { type SsoStandIn, startSso } from '../../../../support/aws-stand-ins/sso.ts';

const START_URL = 'https://keys.awsapps.com/start';
const ACCOUNT = 'sso_account_id = 111122223333\nsso_role_name = keys\n';
const PORTAL = `sso_start_url = ${START_URL}\nsso_region = eu-central-1\n`;
const SESSION = `[default]\nsso_session = corp\n${ACCOUNT}\n[sso-session corp]\n${PORTAL}`;
const LEGACY = `[default]\n${ACCOUNT}${PORTAL}`;

/** The cache file that `aws sso login` writes. */
function logIn(scene: Scene, sso: SsoStandIn, key: string, lifetimeMs = 8 * HOUR_MS, more: object = {}): void {
  const name = createHash('sha1').update(key).digest('hex');
  const expiresAt = new Date(Date.now() + lifetimeMs).toISOString();
  scene.file(`.aws/sso/cache/${name}.json`, JSON.stringify({ accessToken: sso.accessToken, expiresAt, ...more }));
}

async function stage(config: string): Promise<{ scene: Scene; sso: SsoStandIn }> {
  const scene = await startScene();
  const sso = await startSso(scene.issuer);
  scene.file('.aws/config', config);
  scene.environment({ AWS_ENDPOINT_URL_SSO: sso.url, AWS_ENDPOINT_URL_SSO_OIDC: sso.url });
  return { scene, sso };
}

it.each([
  ['an sso_session', SESSION, 'corp'],
  ['the older form', LEGACY, START_URL],
])("the agent requests the role's credentials from the portal, with %s", async (_, config, cacheKey) => {
  const { scene, sso } = await stage(config);
  logIn(scene, sso, cacheKey);
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sso.asked).toEqual(['GET /federation/credentials']);
});

it('the agent renews the token of an sso_session, and stores the new one', async () => {
  const { scene, sso } = await stage(SESSION);
  const more = { clientId: 'c', clientSecret: scene.issuer.secret('sso-client'), refreshToken: sso.refreshToken };
  logIn(scene, sso, 'corp', HOUR_MS, more);
  moveClock(2 * HOUR_MS);
  expect(await scene.use(await scene.client())).toMatch(/^ASIA/);
  expect(sso.asked).toEqual(['POST /token', 'GET /federation/credentials']);
});

it.each([
  ['an sso_session', SESSION, 'corp'],
  ['the older form', LEGACY, START_URL],
])('the agent reports an expired login, and works after another one, with %s', async (_, config, cacheKey) => {
  const { scene, sso } = await stage(config);
  logIn(scene, sso, cacheKey, -HOUR_MS);
  const client = await scene.client();
  const error = await scene.fails(
    client,
    'KMS_OPERATOR',
    // Which of them depends on when the SDK last tried to renew a token in this process.
    /: SsoSessionExpired: profile "default": (?:.* has expired|.*clientId.*Cannot refresh|Token is expired)$/,
  );
  expect(error.hint).toContain('run `aws sso login`');
  expect(sso.asked).toEqual([]);
  logIn(scene, sso, cacheKey);
  expect(await scene.use(client)).toMatch(/^ASIA/);
});

it('the agent reports that nobody has logged in', async () => {
  const { scene } = await stage(SESSION);
  const error = await scene.fails(
    await scene.client(),
    'KMS_OPERATOR',
    /: SsoSessionExpired: profile "default": .*not found/,
  );
  expect(error.hint).toContain('run `aws sso login`');
});

it('the agent reports that the portal does not accept the token any more', async () => {
  const { scene, sso } = await stage(SESSION);
  logIn(scene, sso, 'corp');
  sso.accessToken = scene.issuer.secret('sso-access');
  const error = await scene.fails(
    await scene.client(),
    'KMS_OPERATOR',
    /: SsoSessionExpired: profile "default": UnauthorizedException: Session token not found or invalid$/,
  );
  expect(error.hint).toContain('run `aws sso login`');
});

it('the agent reports that the user may not use the role', async () => {
  const { scene, sso } = await stage(SESSION.replace('role_name = keys', 'role_name = other'));
  logIn(scene, sso, 'corp');
  const error = await scene.fails(
    await scene.client(),
    'KMS_OPERATOR',
    /: SsoRefused: profile "default", SSO: ForbiddenException: No access$/,
  );
  expect(error.hint).toContain('sso_role_name');
});

it('the agent reports that the portal fails, or cannot be reached', async () => {
  const { scene, sso } = await stage(SESSION);
  logIn(scene, sso, 'corp');
  const client = await scene.client();
  sso.trouble = { status: 503, body: '{}', contentType: 'application/json' };
  await scene.fails(client, 'KMS_TRANSIENT', /: CredentialServiceTrouble: profile "default", SSO: /);
  sso.trouble = 'drop';
  const error = await scene.fails(client, 'KMS_TRANSIENT', /: CredentialServiceUnreachable: profile "default", SSO: /);
  expect(error.hint).toContain('before it can ask KMS');
  sso.trouble = undefined;
  expect(await scene.use(client)).toMatch(/^ASIA/);
});
