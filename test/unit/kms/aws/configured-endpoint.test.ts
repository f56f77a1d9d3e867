import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { helloSettings } from '../../../../harness/hello-settings.ts';
import { parseSettings } from '../../../../src/keyring/settings.ts';
import { configuredEndpoint } from '../../../../src/kms/aws/configured-endpoint.ts';
import { sdkEndpoint } from '../../../../src/kms/aws/sdk-endpoint.ts';
import { refusalOf, WHO_READS_ENVIRONMENTS } from '../../../support/refused.ts';
import { cleanUp, scratchDirectory } from '../../../support/scratch.ts';

const URL_OF_PROFILE = 'http://127.0.0.1:1/profile/';
const SERVICES = `[default]\nservices = local\nendpoint_url = ${URL_OF_PROFILE}\n[services local]\nkms =\n  endpoint_url = http://127.0.0.1:1/services/\n`;

function surroundings(variables: Readonly<Record<string, string>>, config = ''): NodeJS.ProcessEnv {
  const home = scratchDirectory();
  mkdirSync(join(home, '.aws'));
  if (config !== '') writeFileSync(join(home, '.aws/config'), config);
  return { HOME: home, ...variables };
}

it.each<[string, Readonly<Record<string, string>>, string]>([
  ['the profile', {}, `[default]\nendpoint_url = ${URL_OF_PROFILE}\n`],
  ['the services of the profile', {}, SERVICES],
  ['AWS_ENDPOINT_URL', { AWS_ENDPOINT_URL: 'http://127.0.0.1:1/all/' }, SERVICES],
  [
    'AWS_ENDPOINT_URL_KMS',
    { AWS_ENDPOINT_URL_KMS: 'http://127.0.0.1:1/kms/', AWS_ENDPOINT_URL: 'http://127.0.0.1:1/all/' },
    '',
  ],
  ['nothing', {}, '[default]\nregion = us-east-1\n'],
  [
    'nothing, as ordered',
    { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true', AWS_ENDPOINT_URL: 'http://127.0.0.1:1/all/' },
    '',
  ],
  [
    'nothing, as the profile orders',
    {},
    `[default]\nignore_configured_endpoint_urls = true\nendpoint_url = ${URL_OF_PROFILE}\n`,
  ],
])('the client finds the endpoint that %s names where the SDK finds it', async (_, variables, config) => {
  const environment = surroundings(variables, config);
  for (const name of Object.keys(process.env)) if (/^AWS_/.test(name)) vi.stubEnv(name, undefined);
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  cleanUp(() => void vi.unstubAllEnvs());
  const found = await configuredEndpoint(environment);
  expect(found?.url ?? 'https://kms.us-east-1.amazonaws.com/').toBe((await sdkEndpoint('us-east-1', '')).url.href);
});

const REFUSED: readonly (readonly [Readonly<Record<string, string>>, string, string])[] = [
  [
    { AWS_ENDPOINT_URL_KMS: 'https://kms.example.com/?x=1' },
    '',
    'AWS_ENDPOINT_URL_KMS: the URL of an endpoint has no ?query and no #fragment',
  ],
  [
    { AWS_ENDPOINT_URL: 'https://kms.example.com/#x' },
    '',
    'AWS_ENDPOINT_URL: the URL of an endpoint has no ?query and no #fragment',
  ],
  [
    { AWS_ENDPOINT_URL_STS: 'https://sts.example.com/?' },
    '',
    'AWS_ENDPOINT_URL_STS: the URL of an endpoint has no ?query and no #fragment',
  ],
  [
    { AWS_ENDPOINT_URL_KMS: 'kms.example.com' },
    '',
    'AWS_ENDPOINT_URL_KMS: expected a URL such as https://vpce-1234.kms.eu-central-1.vpce.amazonaws.com',
  ],
  [
    { AWS_ENDPOINT_URL: 'https://u:secret@kms.example.com' },
    '',
    'AWS_ENDPOINT_URL: credentials do not belong into the URL of an endpoint',
  ],
  [
    {},
    '[default]\nendpoint_url = https://kms.example.com/?x=1\n',
    'endpoint_url of profile "default": the URL of an endpoint has no ?query and no #fragment',
  ],
  [
    {},
    SERVICES.replace('services/', 'services/?x=1'),
    '[services local]: the URL of an endpoint has no ?query and no #fragment',
  ],
  [
    {},
    `[default]\nservices = gone\nendpoint_url = ${URL_OF_PROFILE}\n`,
    'profile "default" names services = gone, and there is no [services gone]',
  ],
  [
    { AWS_PROFILE: 'p' },
    '[profile p]\nservices = gone\n',
    'profile "p" names services = gone, and there is no [services gone]',
  ],
];

describe.each(WHO_READS_ENVIRONMENTS)('the %s refuses', (who) => {
  it.each(REFUSED)('%j %j by name', async (variables, config, message) => {
    const environment = surroundings(variables, config);
    const error = await refusalOf(who, environment, message);
    expect(error.hint).not.toBe('');
    expect(error.message + error.hint).not.toContain('secret');
  });
});

it.each(['endpoint_url', 'failover_regions'])('the endpoint variable %s with a query is refused', (name) => {
  const url = 'https://kms.example.com/?x=1';
  const value = name === 'failover_regions' ? `eu-west-1=${url}` : url;
  expect(() => parseSettings(helloSettings({ [name]: value }))).toThrow(
    `aws_key_management_${name}: the URL of an endpoint has no ?query and no #fragment`,
  );
});

it('a missing section of services does not matter when the endpoint comes from elsewhere', async () => {
  const environment = surroundings({ AWS_ENDPOINT_URL: 'http://127.0.0.1:1/' }, '[default]\nservices = gone\n');
  expect(await configuredEndpoint(environment)).toEqual({ url: 'http://127.0.0.1:1/', from: 'AWS_ENDPOINT_URL' });
});
