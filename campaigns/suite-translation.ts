/**
 * Translates MariaDB's encryption tests from file_key_management to aws_key_management: a key file becomes a directory
 * of the same name with the same keys.
 */
import { createHash } from 'node:crypto';
import { basename, extname } from 'node:path';

/** A key of a key file. */
export interface PlainKey {
  readonly id: string;
  readonly bytes: Buffer;
}

export interface Translation {
  readonly text: string;
  /** Key files that the test writes itself, by the name that the translated test reads them from. */
  readonly keyFiles: ReadonlyMap<string, string>;
}

export const CONCERNS_US = /(?:file|aws)[-_]key[-_]management/i;
const INLINE = /^--write_file (\S+)\n((?:\d+;[0-9A-F]+\n)+)EOF\n/gm;
const WITHOUT_MEANING = /(^|[ \t])-*(?:loose-)?file-key-management-(?:encryption-algorithm|filekey)=\S+(\n|$)?/gm;
const NEW_KEYS = /^(?:loose-)?file-key-management-encryption-algorithm=aes_ctr$/gm;

/** Included by tests that go from one key file to another, which needs the keys of those files from the start. */
const LOADS_PLUGIN = 'have_file_key_management_plugin.inc';
const LOADS_STORED_KEYS = 'have_stored_keys_plugin.inc';
const SWAPS_KEY_FILES = /file-key-management-filename=\$MYSQL_TEST_DIR\/std_data\/keys\d/;

/**
 * Messages that the plugin logs in certain tests and file_key_management does not: mtr fails a test for unexpected
 * errors in the log.
 */
const KEY_NOT_ALLOWED = 'AWS KMS plugin: key [0-9]+ is not among the key ids';
const KEY_MISSING = 'AWS KMS plugin: key [0-9]+ version 1: there is no file';
const KEY_GONE = 'AWS KMS plugin: key [0-9]+ is not among the key files';
/** The second alternative is for mock mode, whose embedded KMS has its state file there. */
const NO_DIRECTORY = 'AWS KMS plugin: (cannot list the key directory|state file) .*keys(bad3|-not-found)';
/** The warning of tests that create keys under the second cipher. */
export const MAKES_CTR = 'AWS KMS plugin: key [0-9]+ version 1 encrypts with AES_CTR';
export const MOCK_MODE = 'AWS KMS plugin: MOCK MODE';
const EXPECTED: ReadonlyMap<string, readonly string[]> = new Map([
  ['innodb-page_encryption', [KEY_NOT_ALLOWED]],
  ['innodb-page_encryption-32k', [KEY_NOT_ALLOWED]],
  ['innodb-remove-encryption', [KEY_NOT_ALLOWED]],
  ['innodb-missing-key', [KEY_NOT_ALLOWED, KEY_MISSING, KEY_GONE]],
  ['innodb-redo-nokeys', [NO_DIRECTORY]],
  ['innodb-bad-key-change', [NO_DIRECTORY]],
  ['xb_aws_key_management', [MOCK_MODE]],
]);

/**
 * Rows that a statement's result has because the plugin reports why it got no key: each after a row of the original.
 */
const ADDED_ROWS: ReadonlyMap<string, readonly [after: string, row: string]> = new Map([
  [
    'encrypt-wrong-key',
    [
      'Table\tOp\tMsg_type\tMsg_text\n',
      'test.t1\trepair\tWarning\tAWS KMS plugin: key 1 is not among the key ids that aws_key_management_key_ids allows; use an allowed id, or add 1 with SET GLOBAL aws_key_management_key_ids; if there are tables under key 1, its files were lost: restore aws-kms-key.1.*\n',
    ],
  ],
]);

/** Test names stay the same: mariabackup has one test for each plugin. */
export function translatePath(path: string): string {
  return path.includes('/include/') || path.startsWith('include/') ? translateName(path) : path;
}

function translateName(text: string): string {
  return text.replace(/file(?=([-_])key\1management)/gi, (found) => (found === 'FILE' ? 'AWS' : 'aws'));
}

/**
 * A test, its options or its expected result. Where the original runs a test a second time with another cipher, the
 * translated one runs it with keys of that cipher that the servers create in their data directories; only `newKeyIds` may
 * be.
 */
export function translate(path: string, original: string, newKeyIds: string): Translation {
  const keyFiles = new Map<string, string>();
  let text = original.replace(INLINE, (_, target: string, content: string) => {
    const name = `${createHash('sha256').update(content).digest('hex').slice(0, 8)}.txt`;
    keyFiles.set(name, content);
    return `--exec cp -r $MYSQL_TEST_DIR/std_data/${name} ${target}\n`;
  });
  for (const [, target = ''] of original.matchAll(INLINE))
    text = text.replaceAll(`--remove_file ${target}\n`, `--exec rm -r ${target}\n`);
  if (path.endsWith('.combinations')) {
    text = text
      .replace('[cbc]', '[stored]')
      .replace('[ctr]', '[created]')
      .replace(
        NEW_KEYS,
        `loose-aws-key-management-keyfile-dir=\nloose-aws-key-management-key-ids=${newKeyIds}\nloose-aws-key-management-encryption-algorithm=aes_ctr`,
      );
  }
  // The one test of aws_key_management itself asks for a debug server only because the C++ plugin mocks KMS in that alone.
  if (basename(path) === 'xb_aws_key_management.test') text = text.replace('--source include/have_debug.inc\n', '');
  if (basename(path) === 'xb_aws_key_management.opt') text += '--loose-aws-key-management-key-ids=1\n';
  if (SWAPS_KEY_FILES.test(original)) text = text.replace(LOADS_PLUGIN, LOADS_STORED_KEYS);
  if (extname(path) === '.test') text = expectErrors(EXPECTED.get(basename(path, '.test')) ?? []) + text;
  const [after, row] = ADDED_ROWS.get(basename(path, '.result')) ?? [];
  if (after !== undefined) text = text.replace(after, `${after}${row}`);
  text = text
    .replace(WITHOUT_MEANING, (_, before: string, end = '') => (before === '' ? '' : end))
    .replace(/file-key-management-filename/g, 'aws-key-management-keyfile-dir');
  return { text: translateName(text), keyFiles };
}

/** For the tests that include it: the plugin with the keys that are stored, and never with others. */
export function storedKeysOnly(path: string, translated: string): { readonly path: string; readonly text: string } {
  return {
    path: path.replace(translateName(basename(LOADS_PLUGIN, '.inc')), basename(LOADS_STORED_KEYS, '.inc')),
    text: translated.replace(/^\[created\]\n(?:.+\n?)*/m, ''),
  };
}

function expectErrors(patterns: readonly string[]): string {
  const calls = patterns.map((pattern) => `call mtr.add_suppression("${pattern}");\n`);
  return calls.length === 0 ? '' : `--disable_query_log\n${calls.join('')}--enable_query_log\n`;
}

/** The keys of a key file in clear. KMS makes keys of 16 and 32 bytes only: one of 24 loses its last eight. */
export function keysOf(keyFile: string): PlainKey[] {
  return [...keyFile.matchAll(/^[ \t]*(\d+);([0-9A-F]+)/gim)].map(([, id = '', hex = '']) => {
    const bytes = Buffer.from(hex, 'hex');
    return { id, bytes: bytes.length === 24 ? bytes.subarray(0, 16) : bytes };
  });
}
