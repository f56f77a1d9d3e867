import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { agentCommand } from '../../../../src/cli/agent.ts';
import { adoptServiceVariables } from '../../../../src/cli/service-identity.ts';
import { systemSurroundings } from '../../../../src/cli/system-surroundings.ts';
import { AGENT_OPTIONS } from '../../../../src/server/service/agent-line.ts';
import { findAgentService } from '../../../../src/server/service/agent-service.ts';
import type { Surroundings } from '../../../../src/server/surroundings.ts';
import { scratchDirectory } from '../../../support/scratch.ts';

const SOCKET = '/run/mariadb-aws-kms/agent.sock';
let home: string;
let surroundings: Surroundings;

beforeEach(() => {
  home = scratchDirectory();
  const system = systemSurroundings();
  const paths = { ...system.paths, units: [join(home, 'units')], passwd: join(home, 'passwd'), systemd: home };
  surroundings = { ...system, paths };
  mkdirSync(join(home, 'units'));
  writeFileSync(join(home, 'passwd'), 'mysql:x:4711:4711::/nonexistent:/bin/false\nagent:x:4712:4712::/:/bin/false\n');
});

function putUnit(name: string, ...lines: readonly string[]): void {
  writeFileSync(join(home, 'units', name), ['[Service]', ...lines, ''].join('\n'));
}

function putAgent(options: string): void {
  const file = join(home, 'defaults');
  writeFileSync(file, `AGENT_OPTIONS="--region eu-central-1${options}"\nAWS_SHARED_CREDENTIALS_FILE=/c\nOTHER=1\n`);
  putUnit(
    'mariadb-aws-kms-agent.service',
    'User=agent',
    `EnvironmentFile=-${file}`,
    `ExecStart=/usr/bin/mariadb-aws-kms agent --listen ${SOCKET} --keyfile-dir /var/lib/keys $AGENT_OPTIONS`,
  );
}

it.each([
  ['', '/var/lib/keys'],
  [' --keyfile-dir /srv/keys', '/srv/keys'],
])('a separate agent with the options "%s" has its keys in %s', async (options, keyfileDir) => {
  putAgent(options);
  const found = await findAgentService(SOCKET, surroundings);
  expect(found).toMatchObject({ keyfileDir, account: { name: 'agent', uid: 4712 } });
  expect([...(found?.service.variables.keys() ?? [])]).toEqual(['AWS_SHARED_CREDENTIALS_FILE']);
});

it("the options of a unit's agent are those of the command", () => {
  const names = agentCommand().options.map(({ long }) => long);
  expect(names).toEqual(AGENT_OPTIONS.map((name) => `--${name}`));
});

it('an agent on another socket, and none at all, tell no directory', async () => {
  expect(await findAgentService(SOCKET, surroundings)).toBeUndefined();
  putAgent('');
  expect(await findAgentService('/run/other/agent.sock', surroundings)).toBeUndefined();
});

it.each([
  ['takes the variables of the service of the same user', {}, 4711, ['AWS_PROFILE', 'HTTPS_PROXY']],
  ['takes none of the service of another user', {}, 4712, []],
  ['keeps its own, and takes none beside them', { AWS_REGION: 'eu-west-1' }, 4711, ['AWS_REGION']],
])("a mariadb-backup's agent %s", async (_, own, uid, names) => {
  putUnit('mariadb.service', 'User=mysql', 'Environment=AWS_PROFILE=x HTTPS_PROXY=http://p LD_PRELOAD=/evil');
  const environment: NodeJS.ProcessEnv = { ...own };
  const notices: string[] = [];
  await adoptServiceVariables(environment, uid, surroundings, (text) => notices.push(text));
  expect(Object.keys(environment)).toEqual(names);
  const note = `AWS_PROFILE, HTTPS_PROXY as mariadb.service (${home}/units/mariadb.service) has it, because the environment of mariadb-backup has none`;
  expect(notices).toEqual(names.includes('AWS_PROFILE') ? [note] : []);
});
