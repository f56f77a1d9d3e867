import { expect, it } from 'vitest';
import { parseOptionLines, ServerOptions } from '../../../src/server/server-options.ts';
import { chooseSetup, type SetupFlags } from '../../../src/setup/choice.ts';
import type { KeyPlaces } from '../../../src/setup/key-places.ts';
import { SETUP_PATHS } from '../../../src/setup/paths.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { placesOf } from '../../support/key-places.ts';

const FLAGS: SetupFlags = {
  masterKey: 'alias/mariadb',
  region: 'eu-central-1',
  keyfileDir: undefined,
  credentials: 'role',
  endpointUrl: undefined,
  isSeparateAgent: false,
};

function choose(flags: Partial<SetupFlags>, keys: KeyPlaces = placesOf({}), options = '') {
  const configuration = { datadir: '/var/lib/mysql', options: new ServerOptions(parseOptionLines(options, [])) };
  return chooseSetup({ ...FLAGS, ...flags }, configuration, keys, SETUP_PATHS);
}

it('keys go into a directory of their own, credentials are a role', () => {
  expect(choose({})).toEqual({
    masterKey: 'alias/mariadb',
    region: 'eu-central-1',
    endpointUrl: undefined,
    keyfileDir: '/var/lib/mariadb-aws-kms',
    credentialsFile: undefined,
    isSeparateAgent: false,
    notes: [],
  });
});

it.each<[string, Parameters<typeof placesOf>[0]]>([
  ['data needs them', { need: 'needs', held: { '/var/lib/mysql': [1, 2] }, used: [1] }],
  ['data could not be looked at', { need: 'unsure', held: { '/var/lib/mysql': [1, 2] } }],
  ['the plugin has them there', { configured: '/var/lib/mysql', held: { '/var/lib/mysql': [1, 2] } }],
])('the keys of the C++ plugin stay in the data directory: %s', (_, keys) => {
  const { keyfileDir, notes } = choose({}, placesOf(keys));
  expect(keyfileDir).toBe('');
  expect(notes).toEqual([
    'the key files stay in the data directory: /var/lib/mysql holds 2 of them, as the C++ plugin puts them there',
  ]);
});

it.each<[string, Parameters<typeof placesOf>[0]]>([
  ['no data is encrypted', { held: { '/var/lib/mysql': [1] } }],
  [
    'the standard directory has what data needs',
    { need: 'needs', used: [1], held: { '/var/lib/mysql': [1], '/var/lib/mariadb-aws-kms': [1, 2] } },
  ],
])('copies of key files in the data directory are told, and do not decide: %s', (_, keys) => {
  const { keyfileDir, notes } = choose({}, placesOf(keys));
  expect(keyfileDir).toBe('/var/lib/mariadb-aws-kms');
  expect(notes).toEqual([
    '/var/lib/mysql holds 1 key files that the server will not read, as its keys are in /var/lib/mariadb-aws-kms; to move them aside: install -d -m 0700 /var/lib/mariadb-aws-kms.from-datadir && mv /var/lib/mysql/aws-kms-key.* /var/lib/mariadb-aws-kms.from-datadir/',
  ]);
});

it('a node of Galera keeps its keys in the data directory', () => {
  const { keyfileDir, notes } = choose({}, placesOf({}), '--wsrep_on=ON');
  expect(keyfileDir).toBe('');
  expect(notes).toEqual([
    'the key files go into the data directory: wsrep_on is ON, and a state transfer carries them from there',
  ]);
});

it('a directory that is asked for is taken, also the data directory', () => {
  expect(choose({ keyfileDir: '/keys' }).keyfileDir).toBe('/keys');
  expect(choose({ keyfileDir: '/var/lib/mysql' }).keyfileDir).toBe('');
  expect(choose({ isSeparateAgent: true }).keyfileDir).toBe('/var/lib/mariadb-aws-kms-agent');
});

it('a separate agent gets no path that its unit hides', async () => {
  const hides = (flag: string, path: string, directory: string): string =>
    `${flag} ${path}: the unit of the separate agent hides ${directory} (ProtectHome, PrivateTmp); nothing was changed`;
  await expectKeyError(
    () => choose({ isSeparateAgent: true, credentials: '/root/.aws/credentials' }),
    'SETUP_REFUSED',
    hides('--credentials', '/root/.aws/credentials', '/root'),
  );
  await expectKeyError(
    () => choose({ isSeparateAgent: true, keyfileDir: '/tmp/keys' }),
    'SETUP_REFUSED',
    hides('--keyfile-dir', '/tmp/keys', '/tmp'),
  );
});

it('the Region is that of the master key’s ARN', async () => {
  const masterKey = 'arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000000';
  expect(choose({ masterKey, region: undefined }).region).toBe('eu-west-1');
  await expectKeyError(
    () => choose({ masterKey, region: 'us-east-1' }),
    'BAD_OPTION',
    '--region: expected eu-west-1, where the master key is, got "us-east-1"',
  );
});

it.each<[string, Partial<SetupFlags>, RegExp]>([
  [
    'master key',
    { masterKey: 'alias/a b' },
    /^--master-key: expected a KMS key id, ARN or alias\/name, got "alias\/a b"$/,
  ],
  ['master key with a line end', { masterKey: 'alias/a\nuser=root' }, /^--master-key: expected/],
  ['Region', { region: 'Frankfurt' }, /^--region: expected .*, got "Frankfurt"$/],
  ['missing Region', { region: undefined }, /^--region: expected .*, got nothing$/],
  ['relative directory', { keyfileDir: 'keys' }, /^--keyfile-dir: expected an absolute path/],
  ['directory with a comment sign', { keyfileDir: '/a #b' }, /^--keyfile-dir: expected an absolute path/],
  ['credentials that are no path', { credentials: 'AKIA' }, /^--credentials: expected an absolute path/],
  ['endpoint with a password', { endpointUrl: 'https://a:b@c' }, /^--endpoint-url: credentials do not belong/],
  ['endpoint with a quote', { endpointUrl: 'https://a/"x' }, /^--endpoint-url: expected letters/],
])('a bad %s is refused', async (_, flags, message) => {
  await expectKeyError(() => choose(flags), 'BAD_OPTION', message);
});
