/** Proof on the bytes that a table is encrypted. */
import { encryptedPages } from '../../harness/tablespace.ts';
import { expectThat, type Machine } from './machine.ts';

/**
 * Checks a table's file: the text is nowhere in it, and all its pages but the first few name a key version.
 * @param table its name with the database's, such as `shop.customer`; the server must not run
 * @returns the key versions that its pages name
 */
export function expectEncrypted(machine: Machine, table: string, text: string): number[] {
  const bytes = machine.read(`/var/lib/mysql/${table.replace('.', '/')}.ibd`);
  const pages = encryptedPages(bytes);
  expectThat(!bytes.includes(text), `"${text}" is nowhere in the file of ${table}`);
  expectThat(pages.length > 0, `pages of ${table} name a key version`);
  return [...new Set(pages.map(({ keyVersion }) => keyVersion))].sort();
}

/** Checks that the same look finds the text in a table that is not encrypted. */
export function expectInClear(machine: Machine, table: string, text: string): void {
  const bytes = machine.read(`/var/lib/mysql/${table.replace('.', '/')}.ibd`);
  expectThat(bytes.includes(text), `"${text}" is in the file of ${table}, which is not encrypted`);
  expectThat(encryptedPages(bytes).length === 0, `no page of ${table} names a key version`);
}
