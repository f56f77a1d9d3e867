import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { helloSettings } from '../../../../harness/hello-settings.ts';
import { KeyError } from '../../../../src/errors.ts';
import { parseSettings } from '../../../../src/keyring/settings.ts';
import { chosenRegion } from '../../../../src/kms/aws/region.ts';
import { expectKeyError } from '../../../support/expect-error.ts';
import { scratchDirectory } from '../../../support/scratch.ts';

const VECTORS = [
  ...readFileSync(join(import.meta.dirname, '../../../../plugin/test/client/region_vectors.h'), 'utf8').matchAll(
    /^\{("(?:[^"\\]|\\.)*"), (true|false)\},$/gm,
  ),
].map(([, text = '""', isRight]) => ({ text: JSON.parse(text) as string, isRight: isRight === 'true' }));

it.each(VECTORS)('the agent takes $text for a Region: $isRight, as the plugin does', ({ text, isRight }) => {
  const parse = (): string => parseSettings(helloSettings({ region: text })).region;
  if (isRight) expect(parse()).toBe(text);
  else
    expect(parse).toThrow(
      new KeyError(
        'BAD_OPTION',
        `aws_key_management_region: expected the name of a Region such as eu-central-1, got "${text}"`,
      ),
    );
});

it("the Regions of the plugin's vectors are all tested", () => expect(VECTORS.length).toBeGreaterThan(20));

function home(config = ''): string {
  const made = scratchDirectory();
  if (config === '') return made;
  mkdirSync(join(made, '.aws'));
  writeFileSync(join(made, '.aws/config'), config);
  return made;
}

const PROFILES = '[default]\nregion = eu-west-1\n[profile far]\nregion = ap-south-1\n[profile none]\noutput = json\n';

it.each<[string, Readonly<Record<string, string>>, string, string]>([
  ['us-east-1 when nothing says anything', {}, '', 'us-east-1'],
  ['AWS_DEFAULT_REGION before that', { AWS_DEFAULT_REGION: 'eu-central-1' }, '', 'eu-central-1'],
  ['the profile before AWS_DEFAULT_REGION', { AWS_DEFAULT_REGION: 'eu-central-1' }, PROFILES, 'eu-west-1'],
  ['the profile of AWS_PROFILE', { AWS_PROFILE: 'far', AWS_DEFAULT_REGION: 'eu-central-1' }, PROFILES, 'ap-south-1'],
  [
    'AWS_DEFAULT_REGION for a profile without a Region',
    { AWS_PROFILE: 'none', AWS_DEFAULT_REGION: 'eu-central-1' },
    PROFILES,
    'eu-central-1',
  ],
  [
    'AWS_REGION before all',
    { AWS_REGION: 'us-gov-west-1', AWS_DEFAULT_REGION: 'eu-central-1' },
    PROFILES,
    'us-gov-west-1',
  ],
])('the client chooses %s', async (_, environment, config, region) => {
  expect(await chosenRegion({ HOME: home(config), ...environment })).toBe(region);
});

it.each<[Readonly<Record<string, string>>, string, string]>([
  [
    { AWS_REGION: 'eu-central-1\n' },
    '',
    'AWS_REGION: expected the name of a Region such as eu-central-1, got "eu-central-1\\n"',
  ],
  [
    { AWS_DEFAULT_REGION: 'Frankfurt' },
    '',
    'AWS_DEFAULT_REGION: expected the name of a Region such as eu-central-1, got "Frankfurt"',
  ],
  [
    {},
    '[default]\nregion = eu-central-1a\n',
    'region of profile "default": expected the name of a Region such as eu-central-1, got "eu-central-1a"',
  ],
])('a malformed Region is refused: %j %j', async (environment, config, message) => {
  const error = await expectKeyError(chosenRegion({ HOME: home(config), ...environment }), 'BAD_OPTION', message);
  expect(error.hint).toContain('aws_key_management_region');
});
