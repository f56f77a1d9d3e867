import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blockIn, initBlock, variablesOfBlock, withoutBlock } from '../../../../src/server/service/init-defaults.ts';
import { readService } from '../../../../src/server/service/server-environment.ts';
import { SYSTEM_PATHS, type SystemPaths } from '../../../../src/server/surroundings.ts';
import { scratchDirectory } from '../../../support/scratch.ts';
import { plainFiles } from '../../doctor/patient.ts';

const FILE = ['AWS_SHARED_CREDENTIALS_FILE', '/etc/mariadb-aws-kms/credentials'] as const;
const BLOCK = initBlock('a comment', [FILE]);

it('a block is found among other lines, and taken out of them', () => {
  const text = `A=1\n${BLOCK}export AWS_REGION=us-west-2\n`;
  expect(blockIn(text)).toBe(BLOCK);
  expect(withoutBlock(text)).toBe('A=1\nexport AWS_REGION=us-west-2\n');
  expect(variablesOfBlock(text)).toEqual([FILE]);
});

it('a file without a block gives nothing', () => {
  expect(blockIn('export AWS_REGION=us-west-2\n')).toBeUndefined();
  expect(variablesOfBlock('export AWS_REGION=us-west-2\n')).toEqual([]);
});

function newMachine(hasSystemd: boolean): SystemPaths {
  const root = scratchDirectory();
  const [systemd, initScript, initDefaults] = ['systemd', 'script', 'defaults'].map((name) => join(root, name));
  if (systemd === undefined || initScript === undefined || initDefaults === undefined) throw new Error('unreachable');
  if (hasSystemd) mkdirSync(systemd);
  writeFileSync(initScript, '');
  writeFileSync(initDefaults, `export AWS_PROFILE=other\n${BLOCK}`);
  return { ...SYSTEM_PATHS, proc: join(root, 'proc'), units: [], systemd, initScript, initDefaults };
}

it('without systemd the server gets the variables of the block', async () => {
  const paths = newMachine(false);
  const { variables } = await readService(plainFiles, paths, '/nowhere', true);
  const from = `${paths.initScript} (${paths.initDefaults})`;
  expect([...variables]).toEqual([[FILE[0], { value: FILE[1], from }]]);
});

it('with systemd, and for a server with option files of its own, the block counts for nothing', async () => {
  expect((await readService(plainFiles, newMachine(true), '/nowhere', true)).variables.size).toBe(0);
  expect((await readService(plainFiles, newMachine(false), '/nowhere', false)).variables.size).toBe(0);
});
