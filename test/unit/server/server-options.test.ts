import { expect, it } from 'vitest';
import { PLUGIN_OPTIONS } from '../../../src/server/plugin-options.ts';
import { parseOptionLines, ServerOptions } from '../../../src/server/server-options.ts';

function parse(...lines: readonly string[]): ServerOptions {
  return new ServerOptions(parseOptionLines(lines.join('\n'), PLUGIN_OPTIONS));
}

it.each([
  ['--aws-key-management-region=eu-west-1', 'aws_key_management_region', 'eu-west-1'],
  ['--loose-aws_key_management_region=eu-west-1', 'aws_key_management_region', 'eu-west-1'],
  ['--aws_key_management_master_key_id=alias/with = sign', 'aws_key_management_master_key_id', 'alias/with = sign'],
  ['--aws_key_management_key_s=AES_256', 'aws_key_management_key_spec', 'AES_256'],
  ['--skip-innodb-encrypt-log', 'innodb_encrypt_log', '0'],
  ['--disable_log_bin', 'log_bin', '0'],
  ['--enable-log-bin', 'log_bin', '1'],
  ['--encrypt-tmp-files', 'encrypt_tmp_files', '1'],
  ['--datadir=', 'datadir', ''],
])('the parser of options reads %s', (line, name, value) => {
  expect(parse(line).last(name)).toBe(value);
});

it('the last of several values counts, and all values of options that add up', () => {
  const options = parse('--plugin-load-add=a', '--region=x', '--plugin_load_add=b', 'no option', '--region=y');
  expect(options.last('region')).toBe('y');
  expect(options.all('plugin_load_add')).toEqual(['a', 'b']);
});

it('an ambiguous prefix of option names is not completed', () => {
  expect(parse('--aws_key_management_key=1').strict('aws_key_management')).toEqual(['aws_key_management_key']);
});

it('values that are no switch and no number are reported', () => {
  const options = parse('--a=TRUE', '--b=off', '--c=maybe', '--n=12', '--m=1G');
  expect(['a', 'b', 'c', 'd'].map((name) => options.isOn(name, true))).toEqual([true, false, undefined, true]);
  expect(['n', 'm', 'o'].map((name) => options.number(name, 7))).toEqual([12, undefined, 7]);
});
