import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { sandboxOf } from '../../../src/doctor/service/sandbox.ts';
import { adoptEnvironment, readService } from '../../../src/doctor/service/server-environment.ts';
import { findServiceUnit } from '../../../src/doctor/service/unit.ts';
import { parseAssignments, parseEnvironmentFile, parseUnit } from '../../../src/doctor/service/unit-text.ts';
import { TEST_ACCESS_KEY } from '../../../src/kms/embedded/index.ts';
import { newPatient, type Patient, plainFiles } from './patient.ts';

/** Debian 12's, as far as it matters here. */
const DEBIAN = `[Unit]
Description=MariaDB
[Service]
Type=notify
User=mysql
ProtectSystem=full
PrivateDevices=false
ProtectHome=true
Environment="MYSQLD_OPTS="
`;

function unitOf(text: string): ReturnType<typeof findServiceUnit> {
  const files = { ...plainFiles, keyDirectory: { ...plainFiles.keyDirectory, readdir: async () => [] } };
  return findServiceUnit(
    {
      ...files,
      stat: async (path) =>
        path === '/units/mariadb.service' ? plainFiles.stat('/') : plainFiles.stat('/nonexistent/x'),
      realpath: async (path) => path,
      readFile: async () => Buffer.from(text),
    },
    ['/units'],
  );
}

it.each([
  ['A=b', [['A', 'b']]],
  [
    '"A=b c" \'D=e f\' G=h',
    [
      ['A', 'b c'],
      ['D', 'e f'],
      ['G', 'h'],
    ],
  ],
  [
    'A="b c" D=',
    [
      ['A', 'b c'],
      ['D', ''],
    ],
  ],
  [
    '"A=b\\"c" D=\\x41\\n',
    [
      ['A', 'b"c'],
      ['D', 'A\n'],
    ],
  ],
  ['1A=b nothing =c', []],
])('Environment=%s is what systemd makes of it', (text, expected) => {
  expect(parseAssignments(text)).toEqual(expected);
});

it('an environment file is read as systemd does, not as a shell would', () => {
  const text = `# comment
; another
A=plain value  
B="quoted \\"x\\" \\$HOME"
C='single \\n'
D=one\\
two
E="over
lines"
export F=g
 G=indented
H=$HOME
not a variable
I=`;
  expect(Object.fromEntries(parseEnvironmentFile(text))).toEqual({
    A: 'plain value',
    B: 'quoted "x" $HOME',
    C: 'single \\n',
    D: 'onetwo',
    E: 'over\nlines',
    G: 'indented',
    H: '$HOME',
    I: '',
  });
});

it('a unit is read with its comments, sections and continued lines', () => {
  expect(parseUnit('# c\n[Service]\nA = 1 \\\n# inside\n  2\n; d\n[Install]\nB=\n')).toEqual([
    { section: 'Service', name: 'A', value: '1 2' },
    { section: 'Install', name: 'B', value: '' },
  ]);
});

it('drop-ins count by their name, an important directory hides the same name, and an empty value begins a list anew', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', `${DEBIAN}Environment=AWS_REGION=eu-west-1 AWS_PROFILE=old\n`);
  patient.write('system/lib/mariadb.service.d/10-a.conf', '[Service]\nEnvironment=AWS_REGION=hidden\n');
  patient.write(
    'system/etc/mariadb.service.d/10-a.conf',
    '[Service]\nEnvironment=\nEnvironment=AWS_REGION=eu-central-1\n',
  );
  patient.write('system/run/service.d/50-all.conf', '[Service]\nEnvironment=TZ=UTC\n');
  patient.write(
    'system/etc/mysql.service.d/60-alias.conf',
    '[Service]\nEnvironmentFile=-/nonexistent/x\nUnsetEnvironment=TZ\n',
  );
  patient.write('system/etc/mariadb.service.d/readme.txt', '[Service]\nEnvironment=AWS_REGION=no\n');
  patient.write('system/etc/mariadb.service.d/70-gone.conf', '');
  symlinkSync('/dev/null', join(patient.system, 'etc/mariadb.service.d/80-masked.conf'));
  patient.write('system/lib/mariadb.service.d/80-masked.conf', '[Service]\nEnvironment=AWS_REGION=masked\n');
  symlinkSync(join(patient.system, 'lib/mariadb.service'), join(patient.system, 'etc/mysql.service'));
  const search = ['etc', 'run', 'lib'].map((name) => join(patient.system, name));
  const unit = await findServiceUnit(plainFiles, search, ['mysql.service']);
  expect(Object.fromEntries(unit?.environment ?? [])).toEqual({ AWS_REGION: 'eu-central-1' });
  expect(unit?.unreadable).toEqual([]);
  expect(unit?.last('User')).toBe('mysql');
});

it('an instance takes the template, with its name in it', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb@.service', '[Service]\nEnvironment=AWS_PROFILE=%i-%%\n');
  patient.write('system/etc/mariadb@.service.d/a.conf', '[Service]\nEnvironment=AWS_REGION=eu-west-1\n');
  const unit = await findServiceUnit(
    plainFiles,
    [join(patient.system, 'etc'), join(patient.system, 'lib')],
    ['mariadb@orders.service'],
  );
  expect(Object.fromEntries(unit?.environment ?? [])).toEqual({ AWS_PROFILE: 'orders-%', AWS_REGION: 'eu-west-1' });
});

it.each([
  [DEBIAN, '/etc/mariadb-keys', 'read'],
  [DEBIAN, '/var/lib/mariadb-aws-kms', 'write'],
  [DEBIAN, '/home/mysql/keys', 'none'],
  [`${DEBIAN}ReadWritePaths=-/etc/mariadb-keys\n`, '/etc/mariadb-keys', 'write'],
  [`${DEBIAN}ProtectSystem=strict\n`, '/var/lib/mysql', 'read'],
  [`${DEBIAN}ProtectSystem=strict\nReadWritePaths=/var/lib/mysql /var/log\n`, '/var/lib/mysql', 'write'],
  [`${DEBIAN}ProtectSystem=strict\nStateDirectory=mariadb-aws-kms\n`, '/var/lib/mariadb-aws-kms', 'write'],
  [`${DEBIAN}PrivateTmp=true\n`, '/tmp/keys', 'none'],
  [`${DEBIAN}InaccessiblePaths=/srv\n`, '/srv/keys', 'none'],
  [DEBIAN, '/etcetera', 'write'],
])('systemd leaves the access that the unit says (%#)', async (text, path, access) => {
  const unit = await unitOf(text);
  if (unit === undefined) throw new Error('no unit');
  expect(sandboxOf(unit).accessTo(path).access).toBe(access);
});

it.each([
  ['RestrictAddressFamilies=AF_UNIX', 'RestrictAddressFamilies=AF_UNIX'],
  ['RestrictAddressFamilies=AF_UNIX AF_INET', undefined],
  ['RestrictAddressFamilies=~AF_INET AF_INET6', 'RestrictAddressFamilies=~AF_INET AF_INET6'],
  ['PrivateNetwork=yes', 'PrivateNetwork=yes'],
  ['IPAddressDeny=any\nIPAddressAllow=10.0.0.0/8', undefined],
  ['IPAddressDeny=any', 'IPAddressDeny=any'],
])('%s is known for what it does to the network', async (text, because) => {
  const unit = await unitOf(`[Service]\n${text}\n`);
  if (unit === undefined) throw new Error('no unit');
  expect(sandboxOf(unit).noNetwork).toBe(because);
});

/** A process as /proc shows it. */
function run(patient: Patient, environment: Readonly<Record<string, string>>, cgroup: string): void {
  mkdirSync(join(patient.system, 'proc/4711'), { recursive: true });
  symlinkSync(patient.data, join(patient.system, 'proc/4711/cwd'));
  patient.write('system/proc/4711/comm', 'mariadbd\n');
  patient.write('system/proc/4711/cgroup', `0::${cgroup}\n`);
  const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}\0`);
  patient.write('system/proc/4711/environ', pairs.join(''));
}

it('variables of the unit count before those of the server that runs, which count where the unit has none', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', `${DEBIAN}Environment=AWS_REGION=eu-west-1\n`);
  run(patient, { AWS_REGION: 'old', AWS_CA_BUNDLE: '/ca', PATH: '/bin' }, '/system.slice/mariadb.service');
  const { paths } = patient.surroundings;
  const { variables, unit } = await readService(plainFiles, paths, patient.data, false);
  expect(unit?.name).toBe('mariadb.service');
  expect([...variables].map(([name, { value, from }]) => [name, value, from.replace(patient.root, 'ROOT')])).toEqual([
    ['AWS_REGION', 'eu-west-1', 'mariadb.service (ROOT/system/lib/mariadb.service)'],
    ['AWS_CA_BUNDLE', '/ca', 'the running server (process 4711)'],
  ]);
  expect(await readService(plainFiles, paths, '/elsewhere', false)).toMatchObject({
    unit: undefined,
    running: undefined,
  });
});

it('a server that was started by hand is not that of the unit', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', `${DEBIAN}Environment=AWS_REGION=eu-west-1\n`);
  run(patient, { AWS_REGION: 'eu-north-1' }, '/user.slice/user-0.slice/session-1.scope');
  const { unit, variables } = await readService(plainFiles, patient.surroundings.paths, patient.data, true);
  expect(unit).toBeUndefined();
  expect(variables.get('AWS_REGION')?.value).toBe('eu-north-1');
});

it('an identity is taken as a whole or not at all, and what somebody set by hand stays', () => {
  const variables = new Map(
    Object.entries({ AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_REGION: 'r', AWS_CA_BUNDLE: '/ca' }).map(
      ([name, value]) => [name, { value, from: 'x' }],
    ),
  );
  const service = { unit: undefined, running: undefined, variables };
  const environment: NodeJS.ProcessEnv = { AWS_PROFILE: 'mine', AWS_REGION: 'r', AWS_CA_BUNDLE: '' };
  expect(adoptEnvironment(environment, service)).toEqual({
    adopted: ['AWS_CA_BUNDLE'],
    kept: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
  });
  expect(environment).toEqual({ AWS_PROFILE: 'mine', AWS_REGION: 'r', AWS_CA_BUNDLE: '/ca' });
});

it('doctor looks where the drop-in of the service says, and names what it gives', async () => {
  const patient = await newPatient();
  const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;
  patient.write('home/.aws/credentials', '');
  patient.write(
    'etc/credentials',
    `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
    0o600,
  );
  patient.write('system/lib/mariadb.service', DEBIAN);
  const dropIn = `[Service]\nEnvironment=AWS_SHARED_CREDENTIALS_FILE=${join(patient.root, 'etc/credentials')}\n`;
  patient.write('system/etc/mariadb.service.d/aws.conf', dropIn);
  const { lines, exit } = await patient.examine();
  expect(exit).toBe(0);
  expect(lines).toContainEqual('ok       service: mariadb.service gives the server AWS_SHARED_CREDENTIALS_FILE');
});

it('doctor says what of the unit is in the way, or leaves something unknown', async () => {
  const patient = await newPatient();
  patient.write(
    'system/lib/mariadb.service',
    `${DEBIAN}InaccessiblePaths=${patient.root}/home\nReadOnlyPaths=${patient.data}\nPrivateNetwork=yes\nEnvironmentFile=/nonexistent/aws\nEnvironment=AWS_SESSION_TOKEN=abcdef\n`,
  );
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  service: mariadb.service names /nonexistent/aws, which is not there: systemd does not start the server
             put the file there, or write EnvironmentFile=-/nonexistent/aws if it may be absent
    failure  confinement: ReadOnlyPaths of mariadb.service: ROOT/data can be read only, no new keys can be stored there
             keep the keys below /var/lib: /var/lib/mariadb-aws-kms; or systemctl edit mariadb.service: [Service], then ReadWritePaths=ROOT/data
    failure  confinement: InaccessiblePaths of mariadb.service: the server does not see ROOT/home/.aws/credentials
             keep it elsewhere, such as below /etc/mariadb-aws-kms
    failure  confinement: PrivateNetwork=yes of mariadb.service: the agent cannot reach AWS
             run the agent on its own: aws_key_management_agent = unix:/run/mariadb-aws-kms/agent.sock
    warning  service: ROOT/system/lib/mariadb.service holds a secret of AWS: systemctl shows it to every user
             move it to /etc/mariadb-aws-kms/credentials (mode 0600, owner mysql), and set AWS_SHARED_CREDENTIALS_FILE in its place
    exit 1"
  `);
});
