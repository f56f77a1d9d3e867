import { describe, expect, it } from 'vitest';
import { proxiesOf } from '../../../../src/kms/aws/proxies.ts';
import { startScene } from '../../../support/aws-stand-ins/scene.ts';
import { startSts } from '../../../support/aws-stand-ins/sts.ts';
import { httpProxy } from '../../../support/fronts.ts';
import { refusalOf, WHO_READS_ENVIRONMENTS } from '../../../support/refused.ts';

it.each<[Readonly<Record<string, string>>, Readonly<Record<string, string>>]>([
  [{}, {}],
  [{ HTTPS_PROXY: '' }, {}],
  [{ HTTPS_PROXY: '127.0.0.1:3129' }, { https_proxy: 'http://127.0.0.1:3129/' }],
  [{ https_proxy: 'proxy' }, { https_proxy: 'http://proxy/' }],
  [{ HTTPS_PROXY: 'user:pass@proxy:3128' }, { https_proxy: 'http://user:pass@proxy:3128/' }],
  [{ HTTP_PROXY: ' http://proxy:1\n' }, { http_proxy: 'http://proxy:1/' }],
  [{ HTTPS_PROXY: 'HTTP://proxy:1' }, { https_proxy: 'http://proxy:1/' }],
  [{ HTTPS_PROXY: 'https://proxy:1' }, { https_proxy: 'https://proxy:1/' }],
  [{ https_proxy: 'http://small:1', HTTPS_PROXY: 'http://large:1' }, { https_proxy: 'http://small:1/' }],
  [{ ALL_PROXY: 'proxy:1' }, { http_proxy: 'http://proxy:1/', https_proxy: 'http://proxy:1/' }],
  [
    { all_proxy: 'proxy:1', HTTPS_PROXY: 'own:1' },
    { http_proxy: 'http://proxy:1/', https_proxy: 'http://own:1/' },
  ],
  [
    { HTTPS_PROXY: 'proxy:1', NO_PROXY: 'a,b' },
    { https_proxy: 'http://proxy:1/', no_proxy: 'a,b' },
  ],
  [{ ALL_PROXY: 'socks5://proxy:1', NO_PROXY: '*' }, { no_proxy: '*' }],
])('the environment %j configures the proxies %j', (environment, proxies) => {
  expect(proxiesOf(environment)).toEqual(proxies);
});

describe.each(WHO_READS_ENVIRONMENTS)('the %s refuses', (who) => {
  it.each<[Readonly<Record<string, string>>, string]>([
    [{ HTTPS_PROXY: 'socks5://user:secret@proxy:1080' }, 'HTTPS_PROXY: a socks5 proxy cannot be used'],
    [{ ALL_PROXY: 'socks5h://proxy:1080' }, 'ALL_PROXY: a socks5h proxy cannot be used'],
    [{ all_proxy: 'SOCKS4://proxy:1080' }, 'all_proxy: a socks4 proxy cannot be used'],
    [{ http_proxy: 'http://' }, 'http_proxy: expected http://HOST:PORT'],
    [{ HTTPS_PROXY: 'proxy:port' }, 'HTTPS_PROXY: expected http://HOST:PORT'],
  ])('%j by name', async (environment, message) => {
    const error = await refusalOf(who, environment, message);
    expect(error.hint).toContain(Object.keys(environment)[0]);
    expect(error.hint + error.message).not.toContain('secret');
  });
});

it.each(['HTTP_PROXY', 'ALL_PROXY', 'all_proxy'])('KMS and STS are reached through %s=HOST:PORT', async (name) => {
  const scene = await startScene();
  const sts = await startSts(scene.issuer);
  const { url, asked } = await httpProxy();
  scene.environment({
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
    AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/keys',
    AWS_ENDPOINT_URL_STS: sts.url,
  });
  const surroundings = { proxyEnvironment: { [name]: url.replace('http://', '') } };
  expect(await scene.use(await scene.client({ surroundings }))).toMatch(/^ASIA/);
  expect(asked).toEqual([`POST ${sts.url}/`, `POST ${scene.kmsUrl}/`]);
});
