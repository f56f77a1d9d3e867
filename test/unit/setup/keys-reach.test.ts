import { expect, it } from 'vitest';
import { assertKeysReach } from '../../../src/setup/keys-reach.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { placesOf } from '../../support/key-places.ts';

const [OWN, AGENTS] = ['/var/lib/mariadb-aws-kms', '/var/lib/mariadb-aws-kms-agent'];
const MOVE = {
  choice: { keyfileDir: AGENTS, isSeparateAgent: true },
  datadir: '/var/lib/mysql',
  reader: { name: 'mariadb-aws-kms', uid: 2, gid: 2 },
  group: 'mysql',
  stop: 'systemctl stop mariadb',
};
const COPY = `install -d -o mariadb-aws-kms -g mysql -m 0700 ${AGENTS} && install -o mariadb-aws-kms -g mysql -m 0600 ${OWN}/aws-kms-key.* ${AGENTS}/`;

it('a directory without the keys of encrypted data is refused, and the commands are printed', async () => {
  const keys = placesOf({ need: 'needs', used: [1, 3], held: { [OWN]: [1, 2, 3], '/var/lib/mysql': [1] } });
  const { hint } = await expectKeyError(
    () => assertKeysReach(MOVE, keys),
    'SETUP_REFUSED',
    `data is encrypted with keys that ${AGENTS} does not hold: d/t1.ibd (key 1 version 1), d/t3.ibd (key 3 version 1); they are in ${OWN}; nothing was changed`,
  );
  expect(hint).toBe(`stop the server and copy them, then run this again: systemctl stop mariadb && ${COPY}`);
});

it('the keys of the server are not left behind, also when no data needs them', async () => {
  const { hint } = await expectKeyError(
    () => assertKeysReach(MOVE, placesOf({ configured: OWN, held: { [OWN]: [1, 2] } })),
    'SETUP_REFUSED',
    `the keys of this server are in ${OWN} (2 key files), and ${AGENTS} has none; nothing was changed`,
  );
  expect(hint).toMatch(/^stop the server and copy them, then run this again: /);
});

it('another directory of the server itself is refused as well, with that of the keys as a choice', async () => {
  const choice = { keyfileDir: '/srv/keys', isSeparateAgent: false };
  const own = { ...MOVE, choice, reader: { name: 'mysql', uid: 1, gid: 1 }, stop: undefined };
  const { hint } = await expectKeyError(
    () => assertKeysReach(own, placesOf({ configured: OWN, held: { [OWN]: [1] } })),
    'SETUP_REFUSED',
    /^the keys of this server are in /,
  );
  expect(hint).toBe(
    'stop the server, copy them, then run this again, or name the directory that holds them: --keyfile-dir: install -d -o mysql -g mysql -m 0750 /srv/keys && install -o mysql -g mysql -m 0600 /var/lib/mariadb-aws-kms/aws-kms-key.* /srv/keys/',
  );
});

it('no key file is copied over another', async () => {
  const keys = placesOf({ need: 'needs', used: [1], held: { [OWN]: [1], [AGENTS]: [7] } });
  const { hint } = await expectKeyError(() => assertKeysReach(MOVE, keys), 'SETUP_REFUSED', /they are in /);
  expect(hint).toMatch(/^\S+ holds other keys: .*: mv \/var\/lib\/mariadb-aws-kms-agent \S+-agent\.old$/);
});

it('keys that are nowhere have to come back first', async () => {
  const keys = placesOf({ need: 'needs', used: [1] });
  const { hint } = await expectKeyError(() => assertKeysReach(MOVE, keys), 'SETUP_REFUSED', /no other key directory/);
  expect(hint).toContain('BACKUP/aws-kms-key.*');
});

it.each([
  ['a new server', placesOf({})],
  [
    'keys that came along',
    placesOf({ need: 'needs', used: [1], held: { [OWN]: [1], [AGENTS]: [1] }, configured: OWN }),
  ],
  ['a trial, which the look at its files refuses', placesOf({ isTrial: true, need: 'needs', used: [1] })],
  ['copies that no data needs', placesOf({ held: { '/var/lib/mysql': [1] } })],
])('nothing stands against %s', (_, keys) => {
  assertKeysReach(MOVE, keys);
});
