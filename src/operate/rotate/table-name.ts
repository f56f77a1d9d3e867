/** A table by its names in SQL. */
export interface TableName {
  readonly schema: string;
  readonly table: string;
}

/** Auxiliary tables of a FULLTEXT index are rebuilt with the table that has it. */
const AUXILIARY = /^FTS_[0-9a-f]{16}_/i;

/**
 * Returns the table of a tablespace; a partition's is the whole table. Undefined: it has no table of its own, such as
 * the system tablespace, an undo tablespace, or an auxiliary table of a FULLTEXT index.
 */
export function tableOfTablespace(name: string): TableName | undefined {
  const [schema, file, ...more] = name.split('/');
  if (schema === undefined || file === undefined || more.length > 0 || AUXILIARY.test(file)) return undefined;
  const table = decodeFileName(file.replace(/#P#.*$/is, ''));
  const database = decodeFileName(schema);
  return table === undefined || database === undefined ? undefined : { schema: database, table };
}

/**
 * Decodes `@` and four hexadecimal digits, as MariaDB writes what is no letter, digit or underscore in file names.
 * Undefined: it has one of the two-character codes of other alphabets, or is no such name.
 */
function decodeFileName(text: string): string | undefined {
  const decoded = text.replaceAll(/@([0-9a-f]{4})/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
  const plain = text.replaceAll(/@[0-9a-f]{4}/gi, '');
  return /[@#]/.test(plain) ? undefined : decoded;
}
