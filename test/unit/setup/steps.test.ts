import {
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import type { Disk } from '../../../src/disk/file-system.ts';
import { initBlock } from '../../../src/server/service/init-defaults.ts';
import { applySteps, takeBack } from '../../../src/setup/apply.ts';
import { difference } from '../../../src/setup/difference.ts';
import { asFound, lookAtSteps } from '../../../src/setup/look-at-steps.ts';
import { ROOT, type Step, type TextStep } from '../../../src/setup/step.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { playedOwners } from '../../support/played-owners.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const MYSQL = { name: 'mysql', uid: 777, gid: 778 };
const OPTION = 'aws_key_management_region = eu-central-1\n';

interface Place {
  readonly root: string;
  readonly disk: Disk;
  readonly steps: readonly Step[];
  at(name: string): string;
}

function newPlace(): Place {
  const root = scratchDirectory();
  const at = (name: string): string => join(root, name);
  const block = initBlock('for a test', [['AWS_SHARED_CREDENTIALS_FILE', '/etc/c']]);
  const steps: readonly Step[] = [
    { kind: 'directory', path: at('keys'), owner: MYSQL, mode: 0o750 },
    { kind: 'directory', path: at('keys/below'), owner: MYSQL, mode: 0o700 },
    { kind: 'file', path: at('keys/below/secret'), owner: MYSQL, mode: 0o600, text: '', isKept: true },
    { kind: 'block', path: at('defaults'), owner: ROOT, mode: 0o644, text: block },
    { kind: 'file', path: at('option.cnf'), owner: ROOT, mode: 0o644, text: OPTION },
  ];
  return { root, at, steps, disk: { fileSystem: playedOwners(), clock: systemClock, random: Math.random } };
}

async function setUp({ steps, disk }: Place): Promise<readonly Step[]> {
  const done: Step[] = [];
  await applySteps(await lookAtSteps(steps, disk.fileSystem), disk, (step) => done.push(step));
  return done;
}

it('every step is carried out with owner and mode, and leaves no temporary file', async () => {
  const place = newPlace();
  const { at, disk } = place;
  expect(await setUp(place)).toEqual(place.steps);
  const access = async (name: string): Promise<string> => {
    const { uid, gid, mode } = await disk.fileSystem.stat(at(name));
    return `${uid}:${gid} ${(mode & 0o777).toString(8)}`;
  };
  expect(await access('keys')).toBe('777:778 750');
  expect(await access('keys/below')).toBe('777:778 700');
  expect(await access('keys/below/secret')).toBe('777:778 600');
  expect(await access('option.cnf')).toBe('0:0 644');
  expect(readdirSync(place.root).sort()).toEqual(['defaults', 'keys', 'option.cnf']);
  expect(readdirSync(at('keys/below'))).toEqual(['secret']);
});

it('a second run finds everything there and changes nothing', async () => {
  const place = newPlace();
  await setUp(place);
  const before = statSync(place.at('option.cnf')).ctimeMs;
  const planned = await lookAtSteps(place.steps, place.disk.fileSystem);
  expect(planned.map(({ state }) => state)).toEqual(place.steps.map(() => 'there'));
  expect(await setUp(place)).toEqual([]);
  expect(statSync(place.at('option.cnf')).ctimeMs).toBe(before);
});

it('a file that differs is refused with the difference before anything is written', async () => {
  const place = newPlace();
  writeFileSync(place.at('option.cnf'), 'aws_key_management_region = us-west-2\n');
  const message = `${place.at('option.cnf')} is there and differs: aws_key_management_region is "us-west-2", and would be "eu-central-1"; nothing was changed`;
  await expectKeyError(setUp(place), 'SETUP_REFUSED', message);
  expect(readdirSync(place.root)).toEqual(['option.cnf']);
});

it('the settings that differ are named, and a comment that differs is told as one', () => {
  const agents = 'AGENT_OPTIONS="--region a"\n';
  const file = (path: string): string => `${agents}AWS_SHARED_CREDENTIALS_FILE=${path}\n`;
  expect(difference(file('/a'), file('/b'))).toBe('AWS_SHARED_CREDENTIALS_FILE is "/a", and would be "/b"');
  expect(difference(agents, file('/b'))).toBe('AWS_SHARED_CREDENTIALS_FILE is not there, and would be "/b"');
  const comment = 'no setting, but line 1, a comment or the order';
  expect(difference(`# a\n${agents}`, `# b\n${agents}`)).toBe(comment);
  expect(difference('[Service]\nEnvironment=B=1\n', '[Service]\nEnvironment=A=1\n')).toBe(
    'Environment=A is not there, and would be another value; Environment=B is another value, and would be not there',
  );
});

it('the difference does not repeat a line that may hold a secret', async () => {
  const place = newPlace();
  writeFileSync(place.at('option.cnf'), 'password = tiger\n');
  const error = await expectKeyError(
    setUp(place),
    'SETUP_REFUSED',
    /; password is another value, and would be not there; nothing/,
  );
  expect(error.hint).toContain(' and carry your own lines over afterwards (password): mv ');
  expect(`${error.message}${error.hint}`).not.toContain('tiger');
});

it('a kept file stays as it is', async () => {
  const place = newPlace();
  await setUp(place);
  writeFileSync(place.at('keys/below/secret'), 'mine');
  expect(await setUp(place)).toEqual([]);
  expect(readFileSync(place.at('keys/below/secret'), 'utf8')).toBe('mine');
});

it('a kept file that its reader cannot read, or everybody can, is refused with the cure', async () => {
  const place = newPlace();
  await setUp(place);
  const secret = place.at('keys/below/secret');
  const { fileSystem } = place.disk;
  const file = await fileSystem.open(secret, constants.O_RDONLY);
  await file.chown(0, 0);
  await file.close();
  const error = await expectKeyError(
    setUp(place),
    'SETUP_REFUSED',
    `${secret} is there with mode 0600, owner 0, expected mode 0600, owner 777 (mysql); nothing was changed`,
  );
  expect(error.hint).toBe(`chown mysql: ${secret} && chmod 0600 ${secret}`);
  const open = newPlace();
  await setUp(open);
  chmodSync(open.at('keys/below/secret'), 0o604);
  await expectKeyError(setUp(open), 'SETUP_REFUSED', /is there with mode 0604, owner 777, expected mode 0600/);
});

it('a block that differs is refused, and the hint says which lines are meant', async () => {
  const place = newPlace();
  writeFileSync(place.at('defaults'), `A=1\n${initBlock('for a test', [['AWS_PROFILE', 'mine']])}B=2\n`);
  const error = await expectKeyError(
    setUp(place),
    'SETUP_REFUSED',
    `the block of init in ${place.at('defaults')} differs: export AWS_SHARED_CREDENTIALS_FILE is not there, and would be "/etc/c"; export AWS_PROFILE is another value, and would be not there; nothing was changed`,
  );
  expect(error.hint).toBe(
    'nothing is overwritten: run init with the values that are there, or edit the block; without its lines from "# mariadb-aws-kms init: begin" to "# mariadb-aws-kms init: end" init writes it anew',
  );
});

it('a directory with a wider mode or another owner is refused with the cure', async () => {
  const place = newPlace();
  mkdirSync(place.at('keys'));
  chmodSync(place.at('keys'), 0o755);
  const error = await expectKeyError(
    setUp(place),
    'SETUP_REFUSED',
    `${place.at('keys')} is there with mode 0755, owner 0, expected mode 0750, owner 777 (mysql); nothing was changed`,
  );
  expect(error.hint).toBe(`chown mysql: ${place.at('keys')} && chmod 0750 ${place.at('keys')}`);
  expect(existsSync(place.at('option.cnf'))).toBe(false);
});

it('a missing parent directory is refused', async () => {
  const { at, disk } = newPlace();
  const step: Step = { kind: 'file', path: at('no/file'), owner: ROOT, mode: 0o644, text: 'x' };
  const message = `there is no directory ${at('no')} for ${at('no/file')}; nothing was changed`;
  await expectKeyError(lookAtSteps([step], disk.fileSystem), 'SETUP_REFUSED', message);
});

it('a block joins the lines of the administrator, and goes without them', async () => {
  const place = newPlace();
  writeFileSync(place.at('defaults'), 'MYSQLD_STARTUP_TIMEOUT=90');
  chmodSync(place.at('defaults'), 0o640);
  const done = await setUp(place);
  const text = readFileSync(place.at('defaults'), 'utf8');
  expect(text).toBe(
    'MYSQLD_STARTUP_TIMEOUT=90\n# mariadb-aws-kms init: begin\n# for a test\nexport AWS_SHARED_CREDENTIALS_FILE=/etc/c\n# mariadb-aws-kms init: end\n',
  );
  expect(statSync(place.at('defaults')).mode & 0o777).toBe(0o640);
  expect(await takeBack(done, place.disk)).toEqual([]);
  expect(readFileSync(place.at('defaults'), 'utf8')).toBe('MYSQLD_STARTUP_TIMEOUT=90\n');
});

it('taking back removes files and the block, and leaves directories and changed files', async () => {
  const place = newPlace();
  const done = await setUp(place);
  writeFileSync(place.at('keys/below/secret'), 'mine');
  expect(await takeBack(done, place.disk)).toEqual([place.at('keys/below/secret')]);
  expect(readdirSync(place.root)).toEqual(['keys']);
});

it('what was taken back can be put back as it was found', async () => {
  const place = newPlace();
  await setUp(place);
  chmodSync(place.at('option.cnf'), 0o640);
  writeFileSync(place.at('option.cnf'), 'of the administrator\n');
  const { fileSystem } = place.disk;
  const found: TextStep[] = [];
  for (const step of place.steps) {
    const there = step.kind === 'directory' ? undefined : await asFound(step, fileSystem);
    if (there !== undefined) found.push(there);
  }
  const gone: TextStep[] = [];
  expect(await takeBack(found, place.disk, (step) => gone.push(step))).toEqual([]);
  expect(readdirSync(place.root)).toEqual(['keys']);
  await applySteps(
    gone.map((step) => ({ step, state: 'new' })),
    place.disk,
    () => undefined,
  );
  expect(readFileSync(place.at('option.cnf'), 'utf8')).toBe('of the administrator\n');
  expect(statSync(place.at('option.cnf')).mode & 0o777).toBe(0o640);
  expect((await fileSystem.stat(place.at('keys/below/secret'))).uid).toBe(777);
  expect(readFileSync(place.at('defaults'), 'utf8')).toContain('AWS_SHARED_CREDENTIALS_FILE=/etc/c');
});

it('a file that comes into being after the look is not replaced', async () => {
  const place = newPlace();
  const planned = await lookAtSteps(place.steps, place.disk.fileSystem);
  writeFileSync(place.at('option.cnf'), 'of somebody else');
  const message = `${place.at('option.cnf')} was not written: EEXIST`;
  await expectKeyError(
    applySteps(planned, place.disk, () => undefined),
    'SETUP_FAILED',
    message,
  );
  expect(readFileSync(place.at('option.cnf'), 'utf8')).toBe('of somebody else');
});

it('a dangling link in the place of a file is not followed', async () => {
  const place = newPlace();
  symlinkSync(place.at('elsewhere'), place.at('option.cnf'));
  await expectKeyError(setUp(place), 'SETUP_FAILED', /option\.cnf was not written: EEXIST/);
  expect(existsSync(place.at('elsewhere'))).toBe(false);
});
