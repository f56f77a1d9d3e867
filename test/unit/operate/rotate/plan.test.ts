import { expect, it } from 'vitest';
import { planOf, pluginRefusal } from '../../../../src/operate/rotate/plan.ts';
import { readState, type ServerState, type Tablespace } from '../../../../src/operate/rotate/state.ts';
import { ScriptedServer } from '../../../support/scripted-server.ts';

const STATE: ServerState = {
  version: '10.11.19-MariaDB',
  variables: new Map(),
  keys: new Map([
    [1, 4],
    [3, 2],
  ]),
  plugins: ['aws_key_management'],
  encryptTables: 'ON',
  threads: 4,
  rotateKeyAge: 1,
  isReadOnly: false,
  isInnodbReadOnly: false,
  isGalera: false,
  hasBinaryLog: false,
  isReplica: false,
  backup: undefined,
};
const SPACE: Tablespace = {
  space: 7,
  name: 'd/t',
  isEncrypted: true,
  keyId: 3,
  minVersion: 2,
  latestVersion: 2,
  isMoving: false,
};
const ROTATE = { isWaitOnly: false, waits: false, rebuilds: false };
const WAIT = { ...ROTATE, waits: true };
const REBUILD = { ...WAIT, rebuilds: true };

function refusals(state: Partial<ServerState>, space: Partial<Tablespace> = {}, wish = WAIT): string {
  const { refusals: found } = planOf({ ...STATE, ...state }, [{ ...SPACE, ...space }], [3], wish);
  return found.map(({ message }) => message).join('; ');
}

function notes(state: Partial<ServerState>, wish = ROTATE): string {
  return planOf({ ...STATE, ...state }, [SPACE], [3], wish).notes.join('\n');
}

it.each<[string, Partial<ServerState>, Partial<Tablespace>, string]>([
  [
    'no encryption threads',
    { threads: 0 },
    {},
    'the re-encryption would not end: innodb_encryption_threads is 0: nothing re-encrypts data',
  ],
  [
    'an age of 0',
    { rotateKeyAge: 0 },
    {},
    'the re-encryption would not end: innodb_encryption_rotate_key_age is 0: data stays under the version that it has',
  ],
  ['read_only', { isReadOnly: true }, {}, 'the re-encryption would not end: read_only is ON: nothing re-encrypts data'],
  [
    'innodb_read_only',
    { isInnodbReadOnly: true },
    {},
    'the re-encryption would not end: innodb_read_only is ON: nothing re-encrypts data',
  ],
  [
    'tables that are never visited',
    { encryptTables: 'OFF' },
    {},
    'the re-encryption would not end: innodb_encrypt_tables is OFF, with which the server never re-encrypts tables that are ENCRYPTED=YES: d.t',
  ],
  ['data that is two versions behind', {}, { minVersion: 1, latestVersion: 3 }, 'a re-encryption has not ended: d/t'],
  ['data that moves', {}, { isMoving: true }, 'a re-encryption has not ended: d/t'],
  ['data that waits to be encrypted', {}, { minVersion: 0 }, 'a re-encryption has not ended: d/t'],
  ['data that is one version behind', {}, { minVersion: 1 }, ''],
  ['a table in clear', { threads: 0 }, { isEncrypted: false, minVersion: 0 }, ''],
  ['another key', { threads: 0 }, { keyId: 1 }, ''],
])('rotate --wait with %s is refused or goes on', (_, state, space, expected) => {
  expect(refusals(state, space)).toBe(expected);
});

it('without --wait the reasons why data stays are told, and the rotation goes on', () => {
  expect(refusals({ threads: 0 }, {}, ROTATE)).toBe('');
  expect(notes({ threads: 0 })).toContain(
    'older data stays as it is: the re-encryption would not end: innodb_encryption_threads is 0',
  );
  expect(refusals({ encryptTables: 'OFF' }, {}, ROTATE)).toBe('');
  expect(notes({ encryptTables: 'OFF' })).toContain(
    'these tables stay under old versions, because innodb_encrypt_tables is OFF: d.t; --rebuild',
  );
  expect(refusals({ encryptTables: 'OFF' }, {}, REBUILD)).toBe('');
  expect(refusals({ encryptTables: 'OFF', isReadOnly: true }, {}, REBUILD)).toContain('read_only is ON');
});

it('the wait alone is refused for no re-encryption that runs', () => {
  expect(refusals({}, { isMoving: true }, { ...WAIT, isWaitOnly: true })).toBe('');
});

it('the plan says what rotates where on a Galera node and a replica', () => {
  expect(notes({ isGalera: true })).toContain('each node has keys of its own: this rotates those of this node');
  expect(notes({ isReplica: true })).toContain('this is a replica: its keys are its own');
  expect(notes({ isGalera: true, encryptTables: 'OFF' }, REBUILD)).toContain(
    'Galera runs each ALTER TABLE on all nodes',
  );
  expect(notes({ hasBinaryLog: true, encryptTables: 'OFF' }, REBUILD)).toContain('replicas rebuild these tables, too');
});

it('another key plugin, none, and a backup are refused; a backup does not disturb a wait', () => {
  const plugin = (plugins: readonly string[]) => pluginRefusal({ ...STATE, plugins })?.message;
  expect(plugin(['file_key_management'])).toBe(
    'this server does not have aws_key_management: its keys are those of file_key_management',
  );
  expect(plugin([])).toMatch(/: no encryption plugin is active$/);
  expect(plugin(['aws_key_management'])).toBeUndefined();
  const backup = 'BACKUP STAGE START';
  expect(refusals({ backup }, {}, ROTATE)).toMatch(/^a backup runs \(BACKUP STAGE START\)/);
  expect(refusals({ backup }, {}, { ...WAIT, isWaitOnly: true })).toBe('');
});

it('the state of a server is read from its variables, status and statements', async () => {
  const sql = new ScriptedServer({
    'SHOW GLOBAL VARIABLES': () =>
      Object.entries({
        version: '10.11.19-MariaDB',
        datadir: '/var/lib/mysql/',
        innodb_encrypt_tables: 'FORCE',
        innodb_encryption_threads: '4',
        innodb_encryption_rotate_key_age: '2',
        read_only: 'ON',
        wsrep_on: 'OFF',
      }).map(([Variable_name, Value]) => ({ Variable_name, Value })),
    'SELECT PLUGIN_NAME': () => [{ PLUGIN_NAME: 'aws_key_management' }],
    'SHOW GLOBAL STATUS': () => [
      { Variable_name: 'Aws_key_management_key_30_latest_version', Value: '2' },
      { Variable_name: 'Aws_key_management_key_3_latest_version', Value: '1' },
      { Variable_name: 'Aws_key_management_key_3_encryption_algorithm', Value: 'AES_CBC' },
    ],
    'SELECT COMMAND': () => [
      { COMMAND: 'Slave_IO', STATE: 'Waiting for master to send event', INFO: null },
      { COMMAND: 'Query', STATE: 'Waiting for backup lock', INFO: 'ALTER TABLE t FORCE' },
    ],
  });
  expect(await readState(sql, new AbortController().signal)).toMatchObject({
    keys: new Map([
      [3, 1],
      [30, 2],
    ]),
    encryptTables: 'FORCE',
    threads: 4,
    rotateKeyAge: 2,
    isReadOnly: true,
    isInnodbReadOnly: false,
    isGalera: false,
    isReplica: true,
    backup: 'a statement waits for its lock: ALTER TABLE t FORCE',
  });
});
