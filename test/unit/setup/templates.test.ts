import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { optionFile } from '../../../src/format/option-file.ts';
import { SYSTEM_PATHS } from '../../../src/server/surroundings.ts';
import { credentialsDropIn } from '../../../src/setup/drop-in.ts';
import { SETUP_PATHS } from '../../../src/setup/paths.ts';
import type { Site } from '../../../src/setup/server-steps.ts';
import { setupPolicy } from '../../../src/setup/setup-policy.ts';
import type { Starter } from '../../../src/setup/starter.ts';
import { TRIAL, trialCommand, trialSteps } from '../../../src/setup/trial/trial-steps.ts';

it('the shipped drop-in is the one that init writes', () => {
  const shipped = readFileSync(join(import.meta.dirname, '../../../packaging/mariadb-aws-kms.conf'), 'utf8');
  expect(credentialsDropIn()).toBe(shipped);
});

it('a written option file is the template with the chosen values uncommented and another head', () => {
  const template = optionFile().split('\n');
  const written = optionFile({ head: ['HEAD'], values: { region: 'eu-west-1', keyfile_dir: '/k' } }).split('\n');
  expect(written.filter((line) => !template.includes(line))).toEqual([
    '# HEAD',
    'aws_key_management_region = eu-west-1',
    'aws_key_management_keyfile_dir = /k',
  ]);
});

it.each<[Starter, number]>([
  ['systemd', 4],
  ['script', 3],
  ['unknown', 2],
])('with %s every file of a trial that configures something says that it protects nothing', (starter, count) => {
  const site: Site = {
    paths: SETUP_PATHS,
    system: SYSTEM_PATHS,
    starter,
    unit: 'mariadb.service',
    optionDirectory: '/etc/mysql/mariadb.conf.d',
    server: { name: 'mysql', uid: 1, gid: 1 },
    agent: undefined,
  };
  const access = { accessKeyId: 'ID', secretAccessKey: 'SECRET' };
  const trial = { site, port: 1, region: 'us-east-1', access, program: ['/usr/bin/mariadb-aws-kms'] };
  const texts = trialSteps(trial).flatMap((step) => (step.kind === 'directory' ? [] : [step.text]));
  for (const text of texts) expect(text).toContain(TRIAL);
  expect(texts.filter((text) => !text.startsWith(TRIAL))).toHaveLength(count);
  expect(trialCommand(trial).join(' ')).toContain('--alias alias/trial-protects-nothing');
  expect(trialSteps(trial).at(-1)?.path, 'the option file comes last').toMatch(/aws_key_management\.cnf$/);
  expect(texts.join('\n'), 'tables alone are encrypted, so that the trial can end').not.toMatch(/^innodb_encrypt/m);
});

it('the policy names the key, or says how to find its ARN', () => {
  const arn = 'arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000000';
  const exact = setupPolicy(arn, 'eu-west-1');
  expect(exact.note).toBe('');
  expect(exact.document.Statement.map(({ Action, Resource }) => [Action, Resource])).toEqual([
    [['kms:GenerateDataKeyWithoutPlaintext', 'kms:Decrypt'], arn],
  ]);
  const open = setupPolicy('alias/x', 'cn-north-1');
  expect(open.document.Statement[0]?.Resource).toBe('arn:aws-cn:kms:cn-north-1:ACCOUNT:key/ID');
  expect(open.note).toContain('aws kms describe-key --region cn-north-1 --key-id alias/x');
});
