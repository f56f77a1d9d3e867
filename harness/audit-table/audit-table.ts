/** The table of formats and states: how often each was compared, and with which result. */
import { TABLES } from './formats.ts';
import type { AuditedFile, AuditJson } from './site.ts';
import type { Check } from './truth.ts';

interface Cell {
  right: number;
  wrong: number;
}

const OTHER_FORMATS = [
  'InnoDB tables of mysql',
  'system tablespace',
  'undo tablespace',
  'redo log',
  'binary log',
  'relay log',
  'temporary tablespace',
  'verify-data',
  'decrypt tablespace, innochecksum',
  'decrypt tablespace, import without a plugin',
  'decrypt binlog',
];

export class AuditTable {
  readonly #cells = new Map<string, Map<string, Cell>>();
  readonly #states: string[] = [];
  readonly problems: string[] = [];

  /** @param forStart formats that a failed start stands for */
  note(build: string, state: string, checks: readonly Check[], forStart: readonly string[] = []): void {
    if (!this.#states.includes(state)) this.#states.push(state);
    for (const { what, problem } of checks) {
      if (problem !== '') this.problems.push(`${build}, ${state}, ${what}: ${problem}`);
      for (const format of what === 'start' ? forStart : [formatOf(what)]) this.#count(format, state, problem === '');
    }
  }

  markdown(): string {
    const rows = [...TABLES.map(({ format }) => format), ...OTHER_FORMATS].map((format) => [
      format,
      ...this.#states.map((state) => {
        const { right, wrong } = this.#cells.get(format)?.get(state) ?? { right: 0, wrong: 0 };
        if (wrong > 0) return `**${wrong} of ${right + wrong} wrong**`;
        return right === 0 ? '-' : String(right);
      }),
    ]);
    return [['format', ...this.#states], ['---', ...this.#states.map(() => '---:')], ...rows]
      .map((cells) => `| ${cells.join(' | ')} |`)
      .join('\n');
  }

  #count(format: string, state: string, isRight: boolean): void {
    const row = this.#cells.get(format) ?? new Map<string, Cell>();
    this.#cells.set(format, row);
    const cell = row.get(state) ?? { right: 0, wrong: 0 };
    row.set(state, cell);
    if (isRight) cell.right += 1;
    else cell.wrong += 1;
  }
}

/** The formats of the files that need a version to start. */
export function formatsForStart(audit: AuditJson, versions: readonly string[]): readonly string[] {
  const files = audit.keyVersions.flatMap(({ keyId, version, needs }) =>
    versions.includes(`${keyId}.${version}`) ? (needs['start']?.files ?? []) : [],
  );
  const kinds = audit.files.filter(({ file }) => files.includes(file)).map(({ kind }: AuditedFile) => kind);
  return [...new Set(kinds)];
}

function formatOf(what: string): string {
  if (what.startsWith('mysql.')) return 'InnoDB tables of mysql';
  if (what === 'innodb_system') return 'system tablespace';
  if (what.startsWith('innodb_undo')) return 'undo tablespace';
  if (what.startsWith('binlog')) return 'binary log';
  if (what.startsWith('relay')) return 'relay log';
  return TABLES.find(({ name }) => what === `d.${name}`)?.format ?? what;
}
