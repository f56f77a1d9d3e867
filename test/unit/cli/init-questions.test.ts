import { expect, it } from 'vitest';
import { askForFlags, type InitOptions } from '../../../src/cli/init-questions.ts';
import { SETUP_PATHS } from '../../../src/setup/paths.ts';
import { expectKeyError } from '../../support/expect-error.ts';

const KNOWN = { paths: SETUP_PATHS, keysInDatadir: 0 };
const ARN = 'arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000000';

/** A person who gives these answers in turn, and then only presses the return key. */
function person(...answers: readonly string[]) {
  const rest = [...answers];
  const asked: string[] = [];
  const ask = async (question: string): Promise<string> => {
    asked.push(question.split(/ ?[:([]/, 1)[0] ?? '');
    return rest.shift() ?? '';
  };
  return { io: { isInteractive: true, ask }, asked };
}

const NO_FILES = { defaults: true, group: [] };

async function flagsOf(options: Partial<InitOptions>, ...answers: readonly string[]) {
  const { io, asked } = person(...answers);
  return { asked, flags: await askForFlags({ ...NO_FILES, ...options }, io, KNOWN) };
}

it('without flags everything is asked, and the return key takes the default', async () => {
  const { asked, flags } = await flagsOf({}, ' alias/x ', 'eu-west-1');
  expect(asked).toEqual([
    'master key',
    'Region of the master key',
    'directory of the key files',
    'AWS credentials of the server',
  ]);
  expect(flags).toMatchObject({
    masterKey: 'alias/x',
    region: 'eu-west-1',
    keyfileDir: undefined,
    credentials: 'role',
  });
});

it('answers are taken, and a Region that the ARN names is not asked for', async () => {
  const { asked, flags } = await flagsOf({}, ARN, '/keys', '/etc/credentials');
  expect(asked).not.toContain('Region of the master key');
  expect(flags).toMatchObject({ region: 'eu-west-1', keyfileDir: '/keys', credentials: '/etc/credentials' });
});

it('a separate agent has its own directory, which is not asked for', async () => {
  const { asked, flags } = await flagsOf({ separateAgent: true }, ARN, '/etc/credentials');
  expect(asked).not.toContain('directory of the key files');
  expect(flags).toMatchObject({ isSeparateAgent: true, credentials: '/etc/credentials' });
});

it('with the master key on the command line only a missing Region is asked for', async () => {
  expect((await flagsOf({ masterKey: ARN })).asked).toEqual([]);
  expect((await flagsOf({ masterKey: 'alias/x' }, 'eu-west-1')).asked).toEqual(['Region of the master key']);
});

it('without a person, or without an answer, the missing flag is named', async () => {
  await expectKeyError(flagsOf({}), 'BAD_OPTION', '--master-key is missing');
  const { io } = person('alias/x', 'eu-west-1');
  const nobody = { ...io, isInteractive: false };
  await expectKeyError(
    askForFlags({ ...NO_FILES, masterKey: 'alias/x' }, nobody, KNOWN),
    'BAD_OPTION',
    '--region is missing',
  );
});
