import { describeUse, type FoundUse } from '../data/look.ts';
import type { SetupChoice } from './choice.ts';
import type { KeyPlace, KeyPlaces } from './key-places.ts';
import { refused } from './refused.ts';
import type { Owner } from './step.ts';

const NAMED = 3;

interface Move {
  readonly choice: Pick<SetupChoice, 'keyfileDir' | 'isSeparateAgent'>;
  readonly datadir: string;
  /** The user that reads the key directory from now on. */
  readonly reader: Owner;
  /** The server's group. */
  readonly group: string;
  /** Stops the server; undefined: only the administrator knows how. */
  readonly stop: string | undefined;
}

/**
 * Refuses a key directory with which the server would not start, or would make other keys: data is encrypted and the
 * directory lacks its keys, or the server's keys are in another directory.
 * @throws KeyError SETUP_REFUSED
 */
export function assertKeysReach(move: Move, keys: KeyPlaces): void {
  // A trial has to be ended first, and is refused by its files.
  if (keys.isTrial) return;
  const target = keys.in(move.choice.keyfileDir || move.datadir);
  const { directory, versions, lacking } = target;
  const others = keys.all.filter((place) => place.directory !== directory);
  if (lacking.length > 0) {
    const source = others.find((place) => place.lacking.length === 0);
    const data = `data is encrypted with keys that ${directory} does not hold: ${listUses(lacking)}`;
    if (source !== undefined) {
      throw refused(`${data}; they are in ${source.directory}`, wayOf(move, source, target));
    }
    throw refused(
      `${data}, and no other key directory holds all of them`,
      `bring the key files back from the backup of the keys: ${copy(move, 'BACKUP', directory)}; or, if another key management plugin encrypted this data, its keys: mariadb-aws-kms import --help; then run this again`,
    );
  }
  const configured = others.find((place) => place.directory === keys.configured);
  if (configured === undefined || versions > 0) return;
  throw refused(
    `the keys of this server are in ${configured.directory} (${configured.versions} key files), and ${directory} has none`,
    wayOf(move, configured, target),
  );
}

function wayOf(move: Move, source: KeyPlace, target: KeyPlace): string {
  const { directory } = target;
  if (target.versions > 0) {
    return `${directory} holds other keys: move them aside, then run this again: mv ${directory} ${directory}.old`;
  }
  // Keys that are made after the copy would be missing in it.
  const stop = move.stop === undefined ? '' : `${move.stop} && `;
  const when = move.stop === undefined ? 'stop the server, copy them' : 'stop the server and copy them';
  const keep = move.choice.isSeparateAgent ? '' : ', or name the directory that holds them: --keyfile-dir';
  return `${when}, then run this again${keep}: ${stop}${copy(move, source.directory, directory)}`;
}

function copy({ choice: { isSeparateAgent }, reader, group }: Move, from: string, to: string): string {
  const owner = `-o ${reader.name} -g ${group}`;
  const mode = isSeparateAgent ? '0700' : '0750';
  return `install -d ${owner} -m ${mode} ${to} && install ${owner} -m 0600 ${from}/aws-kms-key.* ${to}/`;
}

/** Names the first of them. */
export function listUses(all: readonly FoundUse[]): string {
  // A file may name the key alone, and its pages the versions.
  const uses = all.filter(
    (use) => use.version !== undefined || !all.some(({ id, version }) => id === use.id && version),
  );
  const more = uses.length > NAMED ? ` and ${uses.length - NAMED} more` : '';
  return `${uses.slice(0, NAMED).map(describeUse).join(', ')}${more}`;
}
