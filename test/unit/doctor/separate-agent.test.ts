/** A server whose agent is a separate one: the doctor examines the agent's keys and identity, not the server's. */

import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { policyCommand } from '../../../src/cli/policy.ts';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { cleanUp } from '../../support/scratch.ts';
import { newPatient, type Patient } from './patient.ts';

const [MYSQL, AGENT] = [777, 778];

/** @param defaults the text of /etc/default/mariadb-aws-kms, made of the patient */
async function separate(
  defaults: (patient: Patient) => string = usual,
  options: Parameters<typeof newPatient>[0] = {},
): Promise<Patient> {
  const patient = await newPatient({
    ...options,
    options: { aws_key_management_region: undefined, aws_key_management_endpoint_url: undefined, ...options.options },
  });
  const { root, data } = patient;
  const socket = join(root, 'run/agent.sock');
  const home = join(root, 'agents-home');
  for (const name of ['keys', 'run', 'agents-home']) mkdirSync(join(root, name), { mode: 0o755 });
  for (const file of readdirSync(data).filter((name) => name.startsWith('aws-kms-key.')))
    renameSync(join(data, file), join(root, 'keys', file));
  patient.write(
    'system/passwd',
    `root:x:0:0::/root:/bin/sh\nmysql:x:${MYSQL}:${MYSQL}::${join(root, 'home')}:/bin/false\nmariadb-aws-kms:x:${AGENT}:${AGENT}::${home}:/bin/false\n`,
  );
  patient.write('system/group', `mysql:x:${MYSQL}:\nmariadb-aws-kms:x:${AGENT}:\n`);
  patient.write('system/default', defaults(patient));
  patient.write(
    'system/lib/mariadb-aws-kms-agent.service',
    [
      '[Service]',
      'User=mariadb-aws-kms',
      'Group=mysql',
      `EnvironmentFile=-${join(patient.system, 'default')}`,
      `ExecStart=/usr/bin/mariadb-aws-kms agent --listen ${socket} --keyfile-dir ${join(root, 'keys')} $AGENT_OPTIONS`,
      '',
    ].join('\n'),
  );
  patient.owners = {
    [join(root, 'keys')]: AGENT,
    [join(root, 'agents-home')]: AGENT,
    [join(root, 'run')]: AGENT,
    [patient.credentials]: AGENT,
  };
  patient.alsoSet = { aws_key_management_agent: `unix:${socket}` };
  const server = createServer().listen(socket);
  cleanUp(() => void server.close());
  await once(server, 'listening');
  chmodSync(socket, 0o666);
  return patient;
}

/** Lets the agent run, as its unit started it with these options and variables. */
function runAgent(patient: Patient, options: string, environment: string, cgroup = UNITS_CGROUP, uid = AGENT): void {
  const { root } = patient;
  const line = `/usr/bin/mariadb-aws-kms agent --listen ${root}/run/agent.sock --keyfile-dir ${root}/keys ${options}`;
  const process = 'system/proc/812';
  patient.write(`${process}/cgroup`, `0::${cgroup}\n`);
  patient.write(`${process}/status`, `Name:\tx\nUid:\t${[uid, uid, uid, uid].join('\t')}\n`);
  patient.write(
    `${process}/cmdline`,
    line
      .split(' ')
      .map((word) => `${word}\0`)
      .join(''),
  );
  patient.write(`${process}/environ`, `${environment.replaceAll(' ', '\0')}\0PATH=/bin\0`);
}

const UNITS_CGROUP = '/system.slice/mariadb-aws-kms-agent.service';

function usual({ kms, credentials }: Patient): string {
  return `AGENT_OPTIONS="--region us-east-1 --endpoint-url ${kms.url}"\nAWS_SHARED_CREDENTIALS_FILE=${credentials}\n`;
}

it("a server with the package's separate agent is healthy: the agent's keys and identity are examined", async () => {
  const patient = await separate(usual, { request: { deep: true } });
  const { lines, problems } = await patient.examine();
  expect(problems).toMatchInlineSnapshot(`
    "warning  backup: ROOT/keys is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --keyfile-dir ROOT/keys --to DIRECTORY
    exit 0"
  `);
  expect(
    lines.filter((line) => /(?:agent|key-directory|credentials|unwrap|endpoint|service):/.test(line)),
  ).toMatchInlineSnapshot(`
    [
      "ok       agent: mariadb-aws-kms-agent on ROOT/run/agent.sock, as mariadb-aws-kms",
      "ok       key-directory: ROOT/keys: mode 0755, owner mariadb-aws-kms:mariadb-aws-kms, hard links work",
      "ok       service: mariadb-aws-kms-agent.service (ROOT/system/default) gives the agent AWS_SHARED_CREDENTIALS_FILE",
      "ok       credentials: arn:aws:iam::111122223333:user/mariadb, from the shared credentials file, without expiry",
      "ok       endpoint: Region us-east-1, endpoint KMS: KMS answers",
      "ok       unwrap: 3 of 3 key versions unwrap",
    ]
  `);
});

it("the server's credentials count nothing when its separate agent has none", async () => {
  const patient = await separate(({ kms }) => `AGENT_OPTIONS="--region us-east-1 --endpoint-url ${kms.url}"\n`);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  credentials: no AWS credentials for the agent, as mariadb-aws-kms: CredentialsProviderError: Could not load credentials from any providers
             give the machine a role, or: install -d -m 0755 /etc/mariadb-aws-kms && install -o mariadb-aws-kms -m 0600 /dev/null /etc/mariadb-aws-kms/credentials; write the keys into it, and AWS_SHARED_CREDENTIALS_FILE=/etc/mariadb-aws-kms/credentials into ROOT/system/default, then: systemctl restart mariadb-aws-kms-agent
    warning  backup: ROOT/keys is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --keyfile-dir ROOT/keys --to DIRECTORY
    exit 1"
  `);
});

it('the credentials file of the separate agent is empty', async () => {
  const patient = await separate();
  writeFileSync(patient.credentials, '');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  credentials: no AWS credentials: ROOT/home/.aws/credentials holds no key
             write aws_access_key_id and aws_secret_access_key into it, below [default]
    warning  backup: ROOT/keys is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --keyfile-dir ROOT/keys --to DIRECTORY
    exit 1"
  `);
});

it("the separate agent's key directory belongs to the server", async () => {
  const patient = await separate();
  patient.owners = { ...patient.owners, [join(patient.root, 'keys')]: MYSQL };
  chmodSync(join(patient.root, 'keys'), 0o700);
  const redo = dataFileVectors().find(({ vector }) => vector === 'redo-encrypted');
  patient.write('data/ib_logfile0', redo?.bytes ?? '');
  const { problems, lines } = await patient.examine();
  expect(problems).toMatchInlineSnapshot(`
    "failure  key-directory: mariadb-aws-kms may not read ROOT/keys (mode 0700, owner mysql:mysql)
             chown mariadb-aws-kms: ROOT/keys && chmod 0700 ROOT/keys
    warning  backup: ROOT/keys is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --keyfile-dir ROOT/keys --to DIRECTORY
    exit 1"
  `);
  expect(lines.filter((line) => line.includes('data:'))).toMatchInlineSnapshot(`
    [
      "ok       data: 1 data file looked at: encrypted with 1 key",
      "skipped  data: the key files were not listed: see key-directory",
    ]
  `);
});

it('an agent of an unknown unit leaves the examination incomplete', async () => {
  const patient = await separate();
  rmSync(join(patient.system, 'lib'), { recursive: true });
  const { lines, exit } = await patient.examine();
  expect(exit).toBe(3);
  expect(
    lines.filter((line) => /(?:agent|key-directory|credentials|permissions|data|unwrap):/.test(line)),
  ).toMatchInlineSnapshot(`
    [
      "ok       agent: an agent of its own on ROOT/run/agent.sock",
      "ok       data: 0 data files looked at: none is encrypted on disk so far",
      "skipped  key-directory: the keys are in the directory of the agent: give it with --keyfile-dir",
      "skipped  data: the key files were not listed: see key-directory",
      "skipped  credentials: the agent on ROOT/run/agent.sock is not that of mariadb-aws-kms-agent.service: its user, credentials and Region are not known here",
      "skipped  permissions: the agent's identity is not known: see credentials",
      "skipped  surplus-permissions: the agent's identity is not known: see credentials",
      "skipped  unwrap: the agent's identity is not known: see credentials",
    ]
  `);
  expect(lines.at(-1)).toMatchInlineSnapshot(
    `"0 failures, 1 warning, 11 ok, 13 skipped: INCOMPLETE: the keys and the agent's identity were not looked at"`,
  );
  const given = await patient.examine({ variables: { keyfile_dir: join(patient.root, 'keys') } });
  expect(given.exit).toBe(3);
  expect(given.lines.at(-1)).toMatchInlineSnapshot(
    `"0 failures, 1 warning, 13 ok, 10 skipped: INCOMPLETE: the agent's identity was not looked at"`,
  );
});

it("the server's user sees neither keys nor identity of the separate agent", async () => {
  const patient = await separate(usual, { surroundings: { uid: MYSQL } });
  const { lines, exit } = await patient.examine();
  expect(exit).toBe(3);
  expect(lines.at(-1)).toMatch(/INCOMPLETE: the keys and the agent's identity were not looked at$/);
});

it('the unit of the separate agent names a Region that is none', async () => {
  const patient = await separate((each) => usual(each).replace('us-east-1', 'nowhere'));
  expect((await patient.examine()).problems).toContain(`--region is not understood`);
});

it("a hint about the separate agent's endpoint names the agent's options", async () => {
  const patient = await separate(() => `AGENT_OPTIONS="--region us-east-1 --endpoint-url http://127.0.0.1:9"\n`);
  const { findings } = await patient.examine();
  const unreachable = findings.find(({ check, status }) => check === 'endpoint' && status === 'failure');
  expect(unreachable?.fix).toMatch(
    /^the agent must reach the KMS endpoint: check the agent's --region, the agent's --endpoint-url, /,
  );
});

const SECRET = 'hunter2';

it.each<[string, (patient: Patient, settings: readonly [string, string]) => void, string]>([
  ['the settings of its unit', (patient, [options, variables]) => runAgent(patient, options, variables), ''],
  [
    'another Region and another password',
    (patient, [options, variables]) =>
      runAgent(patient, options.replace('us-east-1', 'eu-west-1'), variables.replace(/=.*/, `=/${SECRET}`)),
    '--region, AWS_SHARED_CREDENTIALS_FILE',
  ],
  [
    'an option and a variable that the file has no longer',
    (patient, [options, variables]) => runAgent(patient, `${options} --mock`, `${variables} AWS_PROFILE=${SECRET}`),
    '--mock, AWS_PROFILE',
  ],
  [
    'a variable that systemd gives every service',
    (patient, [options, variables]) => runAgent(patient, options, `${variables} AWS_USE_FIPS_ENDPOINT=true`),
    '',
  ],
  [
    'other settings, in no cgroup of the unit',
    (patient) => runAgent(patient, '--region x', '', '/user.slice/user-0.slice/session-1.scope'),
    '',
  ],
  ['other settings, as another user', (patient) => runAgent(patient, '--region x', '', UNITS_CGROUP, MYSQL), ''],
])('the agent that runs has %s', async (_, start, names) => {
  const systemctl = { stdout: 'LoadState=loaded\nTimeoutStartUSec=15min\nAWS_USE_FIPS_ENDPOINT=true\n' };
  const patient = await separate(usual, { programs: { systemctl } });
  start(patient, [
    `--region us-east-1 --endpoint-url ${patient.kms.url}`,
    `AWS_SHARED_CREDENTIALS_FILE=${patient.credentials}`,
  ]);
  const { findings, exit } = await patient.examine();
  expect(JSON.stringify(findings)).not.toContain(SECRET);
  const found = `the agent that runs (process 812) was started with other settings than ${patient.system}/default now has: ${names}`;
  const [report] = findings.filter(({ check }) => check === 'agent');
  if (names === '') expect([report?.status, exit]).toEqual(['ok', 0]);
  else expect(report).toMatchObject({ status: 'failure', found, fix: 'systemctl restart mariadb-aws-kms-agent' });
});

it('the unit of the agent has changed since its start: systemd must read it again', async () => {
  const patient = await separate();
  runAgent(
    patient,
    `--region us-east-1 --endpoint-url ${patient.kms.url}`,
    `AWS_SHARED_CREDENTIALS_FILE=${patient.credentials}`,
  );
  patient.write('system/etc/mariadb-aws-kms-agent.service.d/a.conf', '[Service]\nEnvironment=AWS_MAX_ATTEMPTS=2\n');
  const { findings } = await patient.examine();
  expect(findings.find(({ check }) => check === 'agent')).toMatchObject({
    found: `the agent that runs (process 812) was started with other settings than ${patient.system}/etc/mariadb-aws-kms-agent.service.d/a.conf now has: AWS_MAX_ATTEMPTS`,
    fix: 'systemctl daemon-reload && systemctl restart mariadb-aws-kms-agent',
  });
});

it.each([
  ['--regon eu-west-1', 'has no option --regon'],
  [`--regoin=${SECRET}`, 'has no option --regoin'],
  ['-r eu-west-1', 'has no option -r'],
  ['--failover-regions', 'wants a value for --failover-regions'],
  [SECRET, 'takes no word that belongs to no option, and is given one'],
])('the agent does not start with the options %s', async (options, reason) => {
  const patient = await separate((each) => usual(each).replace('--region', `--region us-east-1 ${options} --region`));
  if (options === '--failover-regions')
    patient.write('system/default', usual(patient).replace('"\n', ` ${options}"\n`));
  runAgent(patient, '--region old', '');
  const { findings } = await patient.examine();
  expect(JSON.stringify(findings)).not.toContain(SECRET);
  // The agent still runs, as it was started: no cure restarts it before that.
  expect(findings.filter(({ status }) => status === 'failure')).toEqual([
    {
      check: 'option-files',
      status: 'failure',
      found: `mariadb-aws-kms-agent.service does not start: the agent ${reason}`,
      fix: `correct it in AGENT_OPTIONS of ${patient.system}/default, then: systemctl restart mariadb-aws-kms-agent`,
    },
  ]);
});

it("the policy of a server with a separate agent has the agent's failover Regions, and the hint its Region", async () => {
  const multiRegion = 'arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef';
  const patient = await separate(() => 'AGENT_OPTIONS="--region eu-central-1 --failover-regions eu-west-1"\n', {
    options: { aws_key_management_failover_regions: 'us-west-2' },
  });
  const stdout: string[] = [];
  const io = { stdout: (line: string) => stdout.push(line), stderr: () => undefined };
  const print = async (...options: readonly string[]): Promise<unknown> =>
    await policyCommand(io, () => patient.surroundings)
      .exitOverride()
      .parseAsync(['--configured', ...options], { from: 'user' });
  await print('--master-key-arn', multiRegion);
  const document = stdout.join('\n');
  expect(document).toContain(multiRegion.replace('eu-central-1', 'eu-west-1'));
  expect(document).not.toContain('us-west-2');
  const error = await expectKeyError(print(), 'BAD_OPTION', /^the server's master key is alias\/mariadb-encryption/);
  expect(error.hint).toContain('aws kms describe-key --region eu-central-1 --key-id alias/mariadb-encryption ');
});
