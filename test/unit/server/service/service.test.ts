import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { TEST_ACCESS_KEY } from '../../../../src/dev-kms/index.ts';
import { sandboxOf } from '../../../../src/server/service/sandbox.ts';
import { adoptEnvironment, NO_SERVICE, readService } from '../../../../src/server/service/server-environment.ts';
import { findServiceUnit } from '../../../../src/server/service/unit.ts';
import { parseAssignments, parseEnvironmentFile, parseUnit } from '../../../../src/server/service/unit-text.ts';
import { newPatient, type Patient, plainFiles } from '../../doctor/patient.ts';

/** The unit of Debian 12, shortened. */
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
  // A number that no character has.
  [
    'A=\\U00110000 B=\\U0010ffff',
    [
      ['A', '\\U00110000'],
      ['B', '\u{10ffff}'],
    ],
  ],
])('Environment=%s is parsed as systemd does', (text, expected) => {
  expect(parseAssignments(text)).toEqual(expected);
});

it('an environment file is parsed as systemd does, not as a shell would', () => {
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
])("the unit's sandbox leaves the same access as systemd (%#)", async (text, path, access) => {
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
])('the network effect of %s is known', async (text, because) => {
  const unit = await unitOf(`[Service]\n${text}\n`);
  if (unit === undefined) throw new Error('no unit');
  expect(sandboxOf(unit).noNetwork).toBe(because);
});

const KEYS = { AWS_ACCESS_KEY_ID: 'theirs', AWS_ENDPOINT_URL_KMS: 'http://theirs' };
const SESSION = '/user.slice/user-0.slice/session-1.scope';
const OURS = process.getuid?.() ?? 0;

/** Writes a process's files below /proc. */
function run(
  patient: Patient,
  environment: Readonly<Record<string, string>>,
  cgroup: string,
  users = `${OURS}\t${OURS}\t${OURS}\t${OURS}`,
): void {
  patient.write('system/proc/self/ns/mnt', '');
  patient.write('system/proc/4711/status', `Name:\tmariadbd\nUid:\t${users}\n`);
  mkdirSync(join(patient.system, 'proc/4711/ns'), { recursive: true });
  symlinkSync(join(patient.system, 'proc/self/ns/mnt'), join(patient.system, 'proc/4711/ns/mnt'));
  symlinkSync(patient.data, join(patient.system, 'proc/4711/cwd'));
  patient.write('system/proc/4711/comm', 'mariadbd\n');
  patient.write('system/proc/4711/cgroup', `0::${cgroup}\n`);
  const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}\0`);
  patient.write('system/proc/4711/environ', pairs.join(''));
}

it('variables of the unit count before those of the server that runs, which count where the unit has none', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', `${DEBIAN}Environment=AWS_REGION=eu-west-1\n`);
  run(
    patient,
    { AWS_REGION: 'old', AWS_PROFILE: 'p', AWS_CA_BUNDLE: '/ca', HTTPS_PROXY: 'http://p:1', PATH: '/bin' },
    '/system.slice/mariadb.service',
  );
  const { paths } = patient.surroundings;
  const { variables, unit, withheld } = await readService(plainFiles, paths, patient.data, false);
  expect(unit?.name).toBe('mariadb.service');
  expect([...variables].map(([name, { value, from }]) => [name, value, from.replace(patient.root, 'ROOT')])).toEqual([
    ['AWS_REGION', 'eu-west-1', 'mariadb.service (ROOT/system/lib/mariadb.service)'],
    ['AWS_PROFILE', 'p', 'the running server (process 4711)'],
  ]);
  // Endpoints, proxies and trusted certificates are not taken from a process.
  expect(withheld).toEqual(['AWS_CA_BUNDLE', 'HTTPS_PROXY']);
  expect(await readService(plainFiles, paths, '/elsewhere', false)).toMatchObject({
    unit: undefined,
    running: undefined,
  });
});

it('a server started by hand does not belong to the unit', async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', `${DEBIAN}Environment=AWS_REGION=eu-west-1\n`);
  run(patient, { AWS_REGION: 'eu-north-1' }, '/user.slice/user-0.slice/session-1.scope');
  const { unit, variables } = await readService(plainFiles, patient.surroundings.paths, patient.data, true);
  expect(unit).toBeUndefined();
  expect(variables.get('AWS_REGION')?.value).toBe('eu-north-1');
});

it.each<[string, (patient: Patient) => void]>([
  ['of another user', (patient) => run(patient, KEYS, SESSION, '4242\t4242\t4242\t4242')],
  ['a setuid program that another user runs', (patient) => run(patient, KEYS, SESSION, '4242\t0\t0\t0')],
  [
    'in a directory of that name elsewhere',
    (patient) => {
      run(patient, KEYS, SESSION);
      rmSync(join(patient.system, 'proc/4711/cwd'));
      symlinkSync(patient.plugins, join(patient.system, 'proc/4711/cwd'));
    },
  ],
  [
    'in a container',
    (patient) => {
      run(patient, KEYS, '/system.slice/docker-1.scope/system.slice/mariadb.service');
      rmSync(join(patient.system, 'proc/4711/ns/mnt'));
      patient.write('system/proc/4711/ns/mnt', '');
    },
  ],
  [
    'with file systems of its own, in a service of a user',
    (patient) => {
      run(patient, KEYS, '/user.slice/user-7.slice/user@7.service/app.slice/mariadb.service');
      rmSync(join(patient.system, 'proc/4711/ns/mnt'));
      patient.write('system/proc/4711/ns/mnt', '');
    },
  ],
])('a process that is named like the server is not believed: %s', async (_, start) => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', DEBIAN);
  start(patient);
  const { running, variables } = await readService(plainFiles, patient.surroundings.paths, patient.data, false);
  expect(running).toBeUndefined();
  expect([...variables]).toEqual([]);
});

it("a service with its own mount namespace is recognised as the server's", async () => {
  const patient = await newPatient();
  patient.write('system/lib/mariadb.service', DEBIAN);
  run(patient, KEYS, '/system.slice/mariadb.service');
  rmSync(join(patient.system, 'proc/4711/ns/mnt'));
  patient.write('system/proc/4711/ns/mnt', '');
  const { running } = await readService(plainFiles, patient.surroundings.paths, patient.data, false);
  expect(running).toMatchObject({ pid: 4711, uid: OURS, unit: { name: 'mariadb.service' } });
});

it("the server's variables are used all or not at all, and variables set by hand stay", () => {
  const variables = new Map(
    Object.entries({ AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_REGION: 'r' }).map(([name, value]) => [
      name,
      { value, from: 'x' },
    ]),
  );
  const service = { ...NO_SERVICE, variables };
  // Credentials of the user who runs this never go to an endpoint that the server's environment names, nor the reverse.
  const environment: NodeJS.ProcessEnv = { HTTPS_PROXY: 'http://proxy', AWS_REGION: 'r', AWS_PROFILE: '' };
  expect(adoptEnvironment(environment, service, false)).toEqual({ adopted: [], kept: ['HTTPS_PROXY', 'AWS_REGION'] });
  expect(environment).toEqual({ HTTPS_PROXY: 'http://proxy', AWS_REGION: 'r', AWS_PROFILE: '' });
  const none: NodeJS.ProcessEnv = { PATH: '/bin' };
  expect(adoptEnvironment(none, service, false)).toEqual({ adopted: [...variables.keys()], kept: [] });
  expect(none).toEqual({ PATH: '/bin', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_REGION: 'r' });
});

it('root, for a server of its own, believes no process of another user', () => {
  const variables = new Map([
    ['AWS_PROFILE', { value: 'theirs', from: 'x', processUid: 7 }],
    ['AWS_REGION', { value: 'r', from: 'unit' }],
  ]);
  expect(adoptEnvironment({}, { ...NO_SERVICE, variables }, true).adopted).toEqual(['AWS_REGION']);
  expect(adoptEnvironment({}, { ...NO_SERVICE, variables }, false).adopted).toEqual(['AWS_PROFILE', 'AWS_REGION']);
});

it('the old name of the shared credentials file counts as it does for the agent', () => {
  const variables = new Map([['AWS_CREDENTIAL_PROFILES_FILE', { value: '/etc/c', from: 'unit' }]]);
  const environment: NodeJS.ProcessEnv = {};
  adoptEnvironment(environment, { ...NO_SERVICE, variables }, false);
  expect(environment['AWS_SHARED_CREDENTIALS_FILE']).toBe('/etc/c');
});

it('a unit that cannot be read is a warning, and not a server without a service', async () => {
  const patient = await newPatient();
  const unit = join(patient.system, 'etc/mariadb.service');
  patient.hidden = [unit];
  const { problems } = await patient.examine({ datadir: undefined });
  expect(problems).toContain(
    "option-files: the service that starts the server is unknown (EACCES: permission denied, stat 'ROOT/system/etc/mariadb.service'), and what it gives the server",
  );
});

it("the doctor reads the file that the service's drop-in names, and names the variables", async () => {
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
  expect(lines).toContainEqual(
    'ok       service: mariadb.service (ROOT/system/etc/mariadb.service.d/aws.conf) gives the server AWS_SHARED_CREDENTIALS_FILE',
  );
});

it('the doctor reports restrictions and gaps of the unit', async () => {
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
