import { expect, it } from 'vitest';
import { parseOptionLines, ServerOptions } from '../../../src/server/server-options.ts';
import { chooseSetup, type KeyPlaces, type SetupFlags } from '../../../src/setup/choice.ts';
import { SETUP_PATHS } from '../../../src/setup/paths.ts';
import { expectKeyError } from '../../support/expect-error.ts';

const FLAGS: SetupFlags = {
  masterKey: 'alias/mariadb',
  region: 'eu-central-1',
  keyfileDir: undefined,
  credentials: 'role',
  endpointUrl: undefined,
  isSeparateAgent: false,
};

function choose(flags: Partial<SetupFlags>, keys: Partial<KeyPlaces> = {}, options = '') {
  const configuration = { datadir: '/var/lib/mysql', options: new ServerOptions(parseOptionLines(options, [])) };
  return chooseSetup(
    { ...FLAGS, ...flags },
    configuration,
    { keysInDatadir: 0, keysInDirectory: 0, ...keys },
    SETUP_PATHS,
  );
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

it('the keys of the C++ plugin stay in the data directory', () => {
  const { keyfileDir, notes } = choose({}, { keysInDatadir: 2 });
  expect(keyfileDir).toBe('');
  expect(notes).toEqual([
    'the key files stay in the data directory: /var/lib/mysql holds 2 of them, as the C++ plugin puts them there',
  ]);
});

it('a node of Galera keeps its keys in the data directory', () => {
  const { keyfileDir, notes } = choose({}, {}, '--wsrep_on=ON');
  expect(keyfileDir).toBe('');
  expect(notes).toEqual([
    'the key files go into the data directory: wsrep_on is ON, and a state transfer carries them from there',
  ]);
});

it('another directory is refused while the keys are in the data directory, unless it has keys too', async () => {
  const message =
    '--keyfile-dir /keys: the keys of this server are in the data directory /var/lib/mysql (1 key files), and it would not find them; nothing was changed';
  await expectKeyError(() => choose({ keyfileDir: '/keys' }, { keysInDatadir: 1 }), 'SETUP_REFUSED', message);
  expect(choose({ keyfileDir: '/keys' }, { keysInDatadir: 1, keysInDirectory: 1 }).keyfileDir).toBe('/keys');
  expect(choose({ keyfileDir: '/var/lib/mysql' }, { keysInDatadir: 1 }).keyfileDir).toBe('');
});

it('a separate agent has a directory of its own, and cannot read keys in the data directory', async () => {
  expect(choose({ isSeparateAgent: true }).keyfileDir).toBe('/var/lib/mariadb-aws-kms-agent');
  await expectKeyError(
    () => choose({ isSeparateAgent: true }, { keysInDatadir: 3 }),
    'SETUP_REFUSED',
    '--separate-agent: the data directory holds 3 key files, which a separate agent may not read; nothing was changed',
  );
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
