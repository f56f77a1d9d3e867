/** The plan of a rotation: which keys, what the server will do with the data, and what stands in the way. */
import { KeyError } from '../../errors.ts';
import { PLUGIN, type ServerState, type Tablespace } from './state.ts';
import { type TableName, tableOfTablespace } from './table-name.ts';

export interface Wish {
  /** True: no new version is made. */
  readonly isWaitOnly: boolean;
  readonly waits: boolean;
  readonly rebuilds: boolean;
}

/** A tablespace that the server's threads do not re-encrypt. */
export interface Stuck {
  readonly name: string;
  readonly space: number;
  readonly keyId: number;
  /** Undefined: no table of its own. */
  readonly table: TableName | undefined;
}

export interface Plan {
  readonly keyIds: readonly number[];
  /** Reasons not to begin. */
  readonly refusals: readonly KeyError[];
  /** Sentences about what will happen. */
  readonly notes: readonly string[];
  /** Tablespaces that stay under old versions unless their tables are rebuilt. */
  readonly stuck: readonly Stuck[];
}

const NAMED = 10;

/** Returns the reason why this server's keys are not rotated here; undefined: it has the plugin. */
export function pluginRefusal({ plugins }: ServerState): KeyError | undefined {
  if (plugins.includes(PLUGIN)) return undefined;
  const found = plugins.length === 0 ? 'no encryption plugin is active' : `its keys are those of ${plugins.join(', ')}`;
  return new KeyError('KEY_NOT_ALLOWED', `this server does not have ${PLUGIN}: ${found}`, {
    hint: 'mariadb-aws-kms doctor says what keeps it from being loaded; another plugin rotates in its own way',
  });
}

/** @param backup its process or statement */
export function backupRefusal(backup: string): KeyError {
  const found = `a backup runs (${backup}), and would have pages of a version whose key it did not copy`;
  return new KeyError('KEY_NOT_ALLOWED', found, { hint: 'rotate when it has ended' });
}

/** @param keyIds the keys to rotate, which the server has */
export function planOf(state: ServerState, spaces: readonly Tablespace[], keyIds: readonly number[], wish: Wish): Plan {
  const chosen = new Set(keyIds);
  const ofKeys = spaces.filter(({ isEncrypted, keyId }) => isEncrypted && chosen.has(keyId));
  const afterwards = wish.isWaitOnly ? 0 : 1;
  const stuck = stuckOf(state, ofKeys, afterwards);
  const stops = stopsOf(state);
  const tables = stuck.flatMap(({ table }) => (table === undefined ? [] : [nameOfTable(table)]));
  const refusals = [
    ...(state.backup === undefined || (wish.isWaitOnly && !wish.rebuilds) ? [] : [backupRefusal(state.backup)]),
    ...(wish.isWaitOnly ? [] : unended(state, ofKeys)),
    ...(wish.waits && stops !== undefined && ofKeys.length > 0 ? [stops] : []),
    ...(wish.waits && !wish.rebuilds && tables.length > 0 ? [neverVisited(tables)] : []),
    ...(wish.rebuilds && (state.isReadOnly || state.isInnodbReadOnly) ? [readOnly(state)] : []),
  ];
  return { keyIds, refusals, stuck, notes: notesOn(state, ofKeys, tables, wish, stops) };
}

/**
 * The highest version that the server's threads move data away from: they leave alone what is no more than
 * `innodb_encryption_rotate_key_age` versions behind.
 */
export function retiredOf({ rotateKeyAge }: Pick<ServerState, 'rotateKeyAge'>, latest: number): number {
  return latest - rotateKeyAge - 1;
}

/** True while the server has data to move in it, or moves some. */
export function isPending(state: Pick<ServerState, 'rotateKeyAge'>, space: Tablespace): boolean {
  if (!space.isEncrypted) return false;
  return space.isMoving || space.minVersion === 0 || space.minVersion <= retiredOf(state, space.latestVersion);
}

/** With innodb_encrypt_tables=OFF the threads visit no table that is ENCRYPTED=YES. */
function stuckOf({ encryptTables }: ServerState, ofKeys: readonly Tablespace[], afterwards: number): readonly Stuck[] {
  if (encryptTables !== 'OFF') return [];
  return ofKeys
    .filter(
      ({ minVersion, latestVersion, isMoving }) =>
        !isMoving && minVersion > 0 && minVersion < latestVersion + afterwards,
    )
    .map(({ name, space, keyId }) => ({ name, space, keyId, table: tableOfTablespace(name) }));
}

function stopsOf(state: ServerState): KeyError | undefined {
  if (state.encryptTables === 'OFF') return undefined;
  if (state.isInnodbReadOnly || state.isReadOnly) return readOnly(state);
  if (state.threads === 0)
    return cannotEnd(
      'innodb_encryption_threads is 0: nothing re-encrypts data',
      'SET GLOBAL innodb_encryption_threads = 4, and in the option file',
    );
  if (state.rotateKeyAge === 0)
    return cannotEnd(
      'innodb_encryption_rotate_key_age is 0: data stays under the version that it has',
      'SET GLOBAL innodb_encryption_rotate_key_age = 1, and in the option file',
    );
  return undefined;
}

function readOnly({ isInnodbReadOnly }: ServerState): KeyError {
  const name = isInnodbReadOnly ? 'innodb_read_only' : 'read_only';
  return cannotEnd(`${name} is ON: nothing re-encrypts data`, `rotate when the server takes writes: ${name} = OFF`);
}

function neverVisited(tables: readonly string[]): KeyError {
  return cannotEnd(
    `innodb_encrypt_tables is OFF, with which the server never re-encrypts tables that are ENCRYPTED=YES: ${namesOf(tables)}`,
    'add --rebuild, which runs ALTER TABLE … FORCE on each of them, or SET GLOBAL innodb_encrypt_tables = ON, which encrypts every other table, too',
  );
}

function cannotEnd(found: string, hint: string): KeyError {
  return new KeyError('KEY_NOT_ALLOWED', `the re-encryption would not end: ${found}`, { hint });
}

function unended(state: ServerState, ofKeys: readonly Tablespace[]): readonly KeyError[] {
  const able = state.encryptTables !== 'OFF' && stopsOf(state) === undefined;
  const left = ofKeys.filter((space) => space.isMoving || (able && isPending(state, space)));
  if (left.length === 0) return [];
  const found = `a re-encryption has not ended: ${namesOf(left.map(({ name }) => name))}`;
  return [new KeyError('KEY_NOT_ALLOWED', found, { hint: 'wait for it: mariadb-aws-kms rotate --wait-only' })];
}

function notesOn(
  state: ServerState,
  ofKeys: readonly Tablespace[],
  tables: readonly string[],
  wish: Wish,
  stops: KeyError | undefined,
): readonly string[] {
  const notes: string[] = [];
  if (!wish.isWaitOnly) notes.push('what is written from now on is under the new versions');
  if (ofKeys.length > 0 && state.encryptTables !== 'OFF') {
    if (stops !== undefined) notes.push(`older data stays as it is: ${stops.message}; ${stops.hint}`);
    else {
      const { rotateKeyAge: age, threads } = state;
      const behind = age === 1 ? '1 version' : `${age} versions`;
      notes.push(
        `${threads} encryption ${threads === 1 ? 'thread moves' : 'threads move'} data that is more than ${behind} behind (innodb_encryption_rotate_key_age = ${age}); the rest stays until the next rotation`,
      );
    }
  }
  if (wish.rebuilds && state.encryptTables !== 'OFF')
    notes.push(`no table is rebuilt: with innodb_encrypt_tables=${state.encryptTables} the threads move all of them`);
  if (tables.length > 0) {
    notes.push(
      wish.rebuilds
        ? `rebuilt one by one with ALTER TABLE … FORCE: ${namesOf(tables)}`
        : `these tables stay under old versions, because innodb_encrypt_tables is OFF: ${namesOf(tables)}; --rebuild moves them`,
    );
  }
  if (wish.rebuilds && tables.length > 0 && state.isGalera)
    notes.push('Galera runs each ALTER TABLE on all nodes at the same time, and the cluster waits for it');
  else if (wish.rebuilds && tables.length > 0 && state.hasBinaryLog)
    notes.push('ALTER TABLE goes to the binary log: replicas rebuild these tables, too');
  if (state.isGalera)
    notes.push('each node has keys of its own: this rotates those of this node; run it on the others, too');
  if (state.isReplica) notes.push('this is a replica: its keys are its own, and its source rotates by itself');
  notes.push(
    'the redo log, binary and relay logs and Aria tables keep their versions: mariadb-aws-kms audit shows what still needs each',
  );
  return notes;
}

export function nameOfTable({ schema, table }: TableName): string {
  return `${schema}.${table}`;
}

export function namesOf(names: readonly string[]): string {
  const unique = [...new Set(names)];
  const more = unique.length > NAMED ? ` and ${unique.length - NAMED} more` : '';
  return `${unique.slice(0, NAMED).join(', ')}${more}`;
}
