/** The tables that files belong to, by their paths. */
import { basename, dirname } from 'node:path';
import type { FileAudit } from './file-audit.ts';
import { addShares, NO_SHARES, type Shares, sharesOf, sharesSum } from './shares.ts';

/** Files of one table, or of one kind that belongs to no table. */
export interface Table {
  /** `schema.table`; of files that belong to no table, their kind. */
  readonly name: string;
  readonly files: number;
  readonly shares: Shares;
}

/** Returns all tables, the largest first. */
export function tablesOf(files: readonly FileAudit[]): readonly Table[] {
  const tables = new Map<string, Table>();
  for (const file of files) {
    const name = tableOf(file);
    const known = tables.get(name) ?? { name, files: 0, shares: NO_SHARES };
    tables.set(name, {
      name,
      files: known.files + 1,
      shares: addShares(known.shares, sharesOf(file)),
    });
  }
  return [...tables.values()].sort((a, b) => sharesSum(b.shares) - sharesSum(a.shares) || (a.name < b.name ? -1 : 1));
}

export function tableOf({ file, kind }: Pick<FileAudit, 'file' | 'kind'>): string {
  if (kind !== 'tablespace' && kind !== 'Aria table') return kind;
  const name = basename(file).replace(/\.\w+$/, '');
  const schema = basename(dirname(file));
  // FTS_<table id>_….ibd: the files of a full-text index name their table by a number.
  if (/^FTS_[0-9a-f]{16}_/.test(name)) return `${shown(schema)}: full-text indexes`;
  const table = shown(name.replace(/#[Pp]#.*$/, ''));
  return schema === '' || schema === '.' ? table : `${shown(schema)}.${table}`;
}

/** Decodes the ASCII characters of a name that the server writes as @00hh. */
function shown(name: string): string {
  return name.replace(/@00([2-7][0-9a-f])/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}
