/** Predictions about a server without some key versions, from the audit's answer. */
import type { AuditJson } from './site.ts';

export interface Prediction {
  /** False: the server does not start, or denies every login. */
  readonly starts: boolean;
  /** True: a start recovers changes first. It may then need what is needed to read, or no longer need it. */
  readonly isRecovered: boolean;
  /** Tables that fail on reading. */
  readonly unreadable: ReadonlySet<string>;
  /** False: tables of the FULLTEXT index fail. Nobody may then search: InnoDB may end the server. */
  readonly isSearchable: boolean;
  /** Tables whose captured file does not import. */
  readonly notImported: ReadonlySet<string>;
  /** Those of which all pages in use are in clear: InnoDB may pass over encrypted free pages of such a file. */
  readonly mayBeImported: ReadonlySet<string>;
  /** Binary and relay logs that cannot be read. */
  readonly logs: ReadonlySet<string>;
}

/** @param versions taken away, as ID.VERSION */
export function predict({ files: audited, keyVersions }: AuditJson, versions: readonly string[]): Prediction {
  const files = (need: string): readonly string[] =>
    keyVersions.flatMap(({ keyId, version, needs }) =>
      versions.includes(`${keyId}.${version}`) ? (needs[need]?.files ?? []) : [],
    );
  const unreadable = new Set(files('read').filter(isOfTable).map(tableOf));
  return {
    starts: files('start').length === 0,
    isRecovered: audited.some(({ needsRecovery }) => needsRecovery === true),
    unreadable,
    isSearchable: files('read').every(isOfTable),
    notImported: new Set([...unreadable, ...files('import').filter(isOfTable).map(tableOf)]),
    mayBeImported: new Set(
      audited
        .filter(({ file, state }) => state === 'clear' && files('import').includes(file))
        .map(({ file }) => tableOf(file)),
    ),
    logs: new Set(files('logs')),
  };
}

/** The table of a file, as DATABASE.TABLE. */
export function tableOf(file: string): string {
  const [, database, name] = /([^/]+)\/([^/]+?)(?:#P#[^/]*)?\.\w+$/.exec(file) ?? [];
  if (database === undefined || name === undefined) throw new Error(`not the file of a table: ${file}`);
  return `${database}.${name}`;
}

/** False for the files of a FULLTEXT index. */
function isOfTable(file: string): boolean {
  return !/\/FTS_[^/]*$/.test(file);
}
