/** A server whose agent is a separate one: the doctor examines the agent's keys and identity, not the server's. */

import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
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
      "ok       key-directory: ROOT/keys: mode 0755, owner 778:778, hard links work",
      "ok       service: mariadb-aws-kms-agent.service gives the agent AWS_SHARED_CREDENTIALS_FILE",
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
    "failure  key-directory: mariadb-aws-kms may not read ROOT/keys (mode 0700, owner 777:777)
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
      "ok       data: 0 data files looked at: none is encrypted",
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
    /^the server must reach the KMS endpoint: check the agent's --region, the agent's --endpoint-url, /,
  );
});
