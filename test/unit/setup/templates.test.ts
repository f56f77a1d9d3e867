import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { optionFile } from '../../../src/format/option-file.ts';
import { SYSTEM_PATHS } from '../../../src/server/surroundings.ts';
import { credentialsDropIn } from '../../../src/setup/drop-in.ts';
import { SETUP_PATHS } from '../../../src/setup/paths.ts';
import { type Site, serverSteps } from '../../../src/setup/server-steps.ts';
import { setupPolicy } from '../../../src/setup/setup-policy.ts';
import type { Starter } from '../../../src/setup/starter.ts';
import { TRIAL, trialCommand, trialSteps } from '../../../src/setup/trial/trial-steps.ts';

const SITE: Site = {
  paths: SETUP_PATHS,
  system: SYSTEM_PATHS,
  starter: 'unknown',
  unit: 'mariadb.service',
  optionDirectory: '/etc/mysql/mariadb.conf.d',
  server: { name: 'mysql', uid: 1, gid: 1 },
  agent: undefined,
};

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
  const site: Site = { ...SITE, starter };
  const access = { accessKeyId: 'ID', secretAccessKey: 'SECRET' };
  const trial = { site, port: 1, region: 'us-east-1', access, program: ['/usr/bin/mariadb-aws-kms'] };
  const texts = trialSteps(trial).flatMap((step) => (step.kind === 'directory' ? [] : [step.text]));
  for (const text of texts) expect(text).toContain(TRIAL);
  expect(texts.filter((text) => !text.startsWith(TRIAL))).toHaveLength(count);
  expect(trialCommand(trial).join(' ')).toContain('--alias alias/trial-protects-nothing');
  expect(trialSteps(trial).at(-1)?.path, 'the option file comes last').toMatch(/aws_key_management\.cnf$/);
  expect(texts.join('\n'), 'tables alone are encrypted, so that the trial can end').not.toMatch(/^innodb_encrypt/m);
});

it('the unit of a separate agent may write a key directory that is not its own', () => {
  const agent = { name: 'mariadb-aws-kms', uid: 2, gid: 2 };
  const site = { ...SITE, starter: 'systemd', agent } as const;
  const choice = {
    masterKey: 'alias/x',
    region: 'eu-west-1',
    endpointUrl: undefined,
    credentialsFile: undefined,
    isSeparateAgent: true,
    notes: [],
  };
  const textsFor = (keyfileDir: string): string =>
    serverSteps({ ...choice, keyfileDir }, site)
      .map((step) => (step.kind === 'directory' ? '' : `${step.path}\n${step.text}`))
      .join('\n');
  const place = '/etc/systemd/system/mariadb-aws-kms-agent.service.d/mariadb-aws-kms.conf';
  expect(textsFor('/srv/keys')).toMatch(new RegExp(`^${place}\n# .*\n\\[Service\\]\nReadWritePaths=/srv/keys$`, 'm'));
  expect(textsFor('/srv/keys')).toContain('--keyfile-dir /srv/keys"');
  expect(textsFor(SETUP_PATHS.agentKeyDirectory)).not.toContain('ReadWritePaths');
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
