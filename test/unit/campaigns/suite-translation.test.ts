import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keysOf, storedKeysOnly, translate, translatePath } from '../../../campaigns/suite-translation.ts';
import { linkTree } from '../../../harness/link-tree.ts';

const translated = (path: string, text: string) => translate(path, text, '1,2').text;

describe('translate', () => {
  test('a key file becomes a key directory of the same name', () => {
    expect(
      translated(
        't/x.opt',
        '--plugin-load-add=$FILE_KEY_MANAGEMENT_SO\n--loose-file-key-management\n--loose-file-key-management-filename=$MYSQL_TEST_DIR/std_data/logkey.txt\n',
      ),
    ).toBe(
      '--plugin-load-add=$AWS_KEY_MANAGEMENT_SO\n--loose-aws-key-management\n--loose-aws-key-management-keyfile-dir=$MYSQL_TEST_DIR/std_data/logkey.txt\n',
    );
  });

  test('text without a meaning for key directories is removed, alone on a line or among other text', () => {
    expect(translated('t/x.opt', '--a\n--loose-file-key-management-filekey=FILE:k\n--b')).toBe('--a\n--b');
    expect(translated('t/x.test', '--let $p=--a --file-key-management-encryption-algorithm=aes_cbc --b\n')).toBe(
      '--let $p=--a --b\n',
    );
  });

  test('the second cipher of a test becomes keys of that cipher that the server creates', () => {
    const text = translated(
      'include/have_file_key_management_plugin.combinations',
      '[cbc]\nloose-file-key-management-filename=keys.txt\nfile-key-management-encryption-algorithm=aes_cbc\n\n[ctr]\nfile-key-management-encryption-algorithm=aes_ctr\n',
    );
    expect(text).toBe(
      '[stored]\nloose-aws-key-management-keyfile-dir=keys.txt\n\n[created]\nloose-aws-key-management-keyfile-dir=\nloose-aws-key-management-key-ids=1,2\nloose-aws-key-management-encryption-algorithm=aes_ctr\n',
    );
    expect(storedKeysOnly('include/have_aws_key_management_plugin.combinations', text)).toEqual({
      path: 'include/have_stored_keys_plugin.combinations',
      text: '[stored]\nloose-aws-key-management-keyfile-dir=keys.txt\n\n',
    });
  });

  test('a key file that a test writes becomes a copy of a key directory', () => {
    const { text, keyFiles } = translate(
      't/x.test',
      '--write_file $V/keys1.txt\n1;770A8A65DA156D24EE2A093277530142\nEOF\n--remove_file $V/keys1.txt\n--remove_file $V/t\n',
      '1',
    );
    const [[name, content] = []] = keyFiles;
    expect(content).toBe('1;770A8A65DA156D24EE2A093277530142\n');
    expect(text).toBe(
      `--exec cp -r $MYSQL_TEST_DIR/std_data/${name} $V/keys1.txt\n--exec rm -r $V/keys1.txt\n--remove_file $V/t\n`,
    );
  });

  test('a test that swaps key files has stored keys only', () => {
    expect(
      translated(
        't/x.test',
        '-- source include/have_file_key_management_plugin.inc\n--let $p=--file-key-management-filename=$MYSQL_TEST_DIR/std_data/keys2.txt\n',
      ),
    ).toMatch(/^-- source include\/have_stored_keys_plugin.inc\n/);
    expect(translated('t/x.test', '-- source include/have_file_key_management_plugin.inc\n')).toBe(
      '-- source include/have_aws_key_management_plugin.inc\n',
    );
  });

  test('errors that a test provokes become expected', () => {
    expect(translated('t/innodb-missing-key.test', 'SELECT 1;\n')).toMatch(
      /^--disable_query_log\n(?:call mtr.add_suppression\("AWS KMS plugin: .*"\);\n){3}--enable_query_log\nSELECT 1;\n$/,
    );
  });
});

test('included files are renamed, tests keep their names', () => {
  expect(translatePath('mysql-test/include/have_file_key_management.inc')).toBe(
    'mysql-test/include/have_aws_key_management.inc',
  );
  expect(translatePath('suite/mariabackup/xb_file_key_management.opt')).toBe(
    'suite/mariabackup/xb_file_key_management.opt',
  );
});

test('the test of aws_key_management itself runs without a debug server', () => {
  expect(translated('mariabackup/xb_aws_key_management.test', '--source include/have_debug.inc\n\nSELECT 1;\n')).toBe(
    '--disable_query_log\ncall mtr.add_suppression("AWS KMS plugin: MOCK MODE");\n--enable_query_log\n\nSELECT 1;\n',
  );
});

test('the keys of a key file are read, in sizes that KMS can make', () => {
  const keys = keysOf(
    '# no;1\n1;770A8A65DA156D24EE2A093277530142\n  4;18420B5CBA31CCDFFE9716E91EB61374D05914F3ADE23E03 # x\n',
  );
  expect(keys.map(({ id, bytes }) => [id, bytes.toString('hex')])).toEqual([
    ['1', '770a8a65da156d24ee2a093277530142'],
    ['4', '18420b5cba31ccdffe9716e91eb61374'],
  ]);
});

describe('linkTree', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'mak-link-tree-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test('unchanged files are linked, directories of changed ones are real, and trees are merged', () => {
    for (const path of [
      'a/same/x',
      'a/mixed/changed',
      'a/mixed/kept',
      'a/mixed/copied',
      'b/mixed/added',
      'b/same2/x',
    ]) {
      mkdirSync(join(directory, path, '..'), { recursive: true });
      writeFileSync(join(directory, path), path);
    }
    const target = join(directory, 'target');
    linkTree(
      [join(directory, 'a'), join(directory, 'b')],
      target,
      new Set(['mixed/changed']),
      (path) => path === 'mixed/copied',
    );
    writeFileSync(join(target, 'mixed/changed'), 'new');
    const isLink = (path: string) => lstatSync(join(target, path)).isSymbolicLink();
    expect(['same', 'same2', 'mixed/kept', 'mixed/added', 'mixed', 'mixed/copied'].map(isLink)).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(readFileSync(join(directory, 'a/mixed/changed'), 'utf8')).toBe('a/mixed/changed');
  });
});
