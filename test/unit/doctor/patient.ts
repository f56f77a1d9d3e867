/** A healthy server to examine: files in a scratch directory, the embedded KMS, a stand-in of STS. */

import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile, realpath, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import type { Clock } from '../../../src/clock.ts';
import { nodeDataFiles } from '../../../src/data/data-files.ts';
import { type AccessKey, type DevKms, startDevKms, TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { ALL_CHECKS } from '../../../src/doctor/checks.ts';
import { examine, type Limits } from '../../../src/doctor/doctor.ts';
import { exitCode, formatFindings } from '../../../src/doctor/format.ts';
import { KeyError } from '../../../src/errors.ts';
import type { Finding } from '../../../src/finding.ts';
import type { EncryptionAlgorithm } from '../../../src/format/encryption-algorithm.ts';
import { type EncryptionContext, keyContext } from '../../../src/format/encryption-context.ts';
import { keyFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { formatSidecar } from '../../../src/format/sidecar.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { createKmsInspector } from '../../../src/kms/aws/inspector.ts';
import type { KmsInspector } from '../../../src/kms/inspect.ts';
import { Secrets } from '../../../src/secrets.ts';
import type { DoctorRequest } from '../../../src/server/request.ts';
import type { CommandResult, FileFacts, Files, Surroundings } from '../../../src/server/surroundings.ts';
import { nameOfTarget } from '../../../src/sql/server.ts';
import { startIdentitySts } from '../../support/identity-sts.ts';
import { cleanUp, scratchDirectory } from '../../support/scratch.ts';

export const ALIAS = 'alias/mariadb-encryption';
const MYSQL = 777;
const SURPLUS = ['GenerateDataKey', 'Encrypt', 'ReEncrypt', 'CreateGrant'];

export interface PatientOptions {
  /** Server options; undefined leaves out one of the healthy ones. */
  readonly options?: Readonly<Record<string, string | undefined>>;
  /** KMS actions that the identity is denied, besides those that a minimal policy leaves out. */
  readonly denied?: readonly string[];
  readonly accessKey?: Partial<AccessKey>;
  /** Milliseconds by which KMS's clock is ahead of this machine's. */
  readonly kmsAheadMs?: number;
  /** Key files to make: `id.version`. */
  readonly keys?: readonly string[];
  readonly request?: Partial<DoctorRequest>;
  readonly surroundings?: Partial<Surroundings>;
  /** Answers of programs, by name. */
  readonly programs?: Readonly<Record<string, Partial<CommandResult> | undefined>>;
  readonly accounts?: string;
}

export const plainFiles: Files = {
  keyDirectory: nodeFileSystem,
  data: nodeDataFiles,
  stat,
  readFile,
  realpath,
  statfs,
};

export class Patient {
  readonly root = scratchDirectory();
  readonly data = join(this.root, 'data');
  readonly plugins = join(this.root, 'plugins');
  readonly system = join(this.root, 'system');
  readonly credentials = join(this.root, 'home/.aws/credentials');
  readonly options: PatientOptions;
  readonly kms: DevKms;
  readonly stsUrl: string;
  /** Changes the KMS that the doctor sees. */
  spoil: (inspector: KmsInspector) => KmsInspector = (inspector) => inspector;

  /** The environment of the user who runs the doctor. */
  readonly environment: NodeJS.ProcessEnv = { HOME: '/root' };
  /** Options that need a path of this patient. */
  alsoSet: Readonly<Record<string, string>> = {};
  /** Options of the command line that need a path of this patient. */
  request: Partial<DoctorRequest> = {};
  /** Paths that the user who runs the doctor may not read. */
  hidden: readonly string[] = [];
  /** Paths that are root's, not the server's. */
  strangers: readonly string[] = [];
  /** User ids of the owners of paths and of what is below them. */
  owners: Readonly<Record<string, number>> = {};
  #isPinned = false;

  constructor(options: PatientOptions, kms: DevKms, stsUrl: string) {
    this.options = options;
    this.kms = kms;
    this.stsUrl = stsUrl;
  }

  get masterKeyArn(): string {
    return this.kms.keyArns[0] ?? '';
  }

  /** Bytes that must not appear in any output. */
  get secrets(): readonly string[] {
    const { secretAccessKey, sessionToken } = { ...TEST_ACCESS_KEY, ...this.options.accessKey };
    return [secretAccessKey, ...(sessionToken === undefined ? [] : [sessionToken])];
  }

  /** Sets by flags what the option files cannot set. */
  pinToScratch(): void {
    this.#isPinned = true;
  }

  write(path: string, content: string | Uint8Array, mode = 0o640): void {
    const full = join(this.root, path);
    mkdirSync(join(full, '..'), { recursive: true });
    writeFileSync(full, content);
    chmodSync(full, mode);
  }

  /** The context is the one that the server would use: empty without a configured context and with AES_CBC. */
  makeKey(
    text: string,
    keyName = this.masterKeyArn,
    context: EncryptionContext = {},
    algorithm: EncryptionAlgorithm = 'AES_CBC',
  ): void {
    const [id = 0, version = 0] = text.split('.').map(Number);
    const name = { id: keyId(id), version: keyVersion(version) };
    const encryptionContext = keyContext(context, name, algorithm);
    const region = /:kms:([^:]+):/.exec(keyName)?.[1] ?? 'us-east-1';
    const made = this.kms.kms.generateDataKeyWithoutPlaintext({
      region,
      keyId: keyName,
      keySpec: 'AES_128',
      encryptionContext,
    });
    const wrapped = made.ciphertextBlob;
    const sidecar = {
      masterKeyArn: made.keyId,
      keySpec: 'AES_128',
      created: '2030-01-01T00:00:00.000Z',
      wrappedSha256: createHash('sha256').update(wrapped).digest('hex'),
      requestId: 'request',
      encryptionContext,
      keyCheckValue: undefined,
    } as const;
    this.write(`data/${keyFileName(name)}`, wrapped, 0o600);
    this.write(`data/${sidecarFileName(name)}`, formatSidecar(name, sidecar), 0o600);
  }

  async examine(request: Partial<DoctorRequest> = {}, limits?: Limits): Promise<Transcript> {
    const before = readdirSync(this.data).sort();
    const findings = await examine({ ...this.#request(), ...request }, this.surroundings, ALL_CHECKS, limits);
    expect(readdirSync(this.data).sort(), 'the doctor leaves nothing behind').toEqual(before);
    for (const { status, found, fix } of findings) {
      if (status === 'failure' || status === 'warning') expect(fix, `what fixes "${found}"`).toBeTruthy();
    }
    const lines = formatFindings(findings, false);
    for (const secret of this.secrets) expect(lines.join('\n')).not.toContain(secret);
    const normalised = lines.map((line) => this.#normalise(line));
    const exit = exitCode(findings);
    const bad = normalised.slice(
      0,
      normalised.findIndex((line) => line.startsWith('ok ') || line === ''),
    );
    return { findings, lines: normalised, problems: [...bad, `exit ${exit}`].join('\n'), exit };
  }

  #request(): DoctorRequest {
    return {
      defaults: '--defaults-file=/etc/my.cnf',
      groups: [],
      datadir: undefined,
      pluginDir: undefined,
      user: undefined,
      variables: {},
      stsEndpointUrl: this.stsUrl,
      deep: false,
      ...(this.#isPinned
        ? {
            datadir: this.data,
            pluginDir: this.plugins,
            variables: { master_key_id: ALIAS, region: 'us-east-1', endpoint_url: this.kms.url },
          }
        : {}),
      ...this.options.request,
      ...this.request,
    };
  }

  get surroundings(): Surroundings {
    const ours = process.getuid?.() ?? 0;
    const mapped = async (path: string): Promise<FileFacts> => {
      if (this.hidden.includes(path)) {
        throw Object.assign(new Error(`EACCES: permission denied, stat '${path}'`), { code: 'EACCES' });
      }
      const facts = await stat(path);
      // The user who runs the tests plays the server's user and, for programs, root.
      if (facts.uid !== ours) return facts;
      const named = Object.entries(this.owners).find(([above]) => path === above || path.startsWith(`${above}/`))?.[1];
      const isRoots = path.startsWith(this.plugins) || this.strangers.includes(path);
      const owner = named ?? (isRoots ? 0 : MYSQL);
      Object.assign(facts, { uid: owner, gid: owner });
      return facts;
    };
    const { environment } = this;
    return {
      release: '0.1.0',
      architecture: 'x64',
      clock: systemClock,
      random: Math.random,
      files: { ...plainFiles, stat: mapped },
      run: async (program, commandArguments) => this.#run(program, commandArguments.includes('--help')),
      paths: {
        passwd: join(this.system, 'passwd'),
        group: join(this.system, 'group'),
        selinux: join(this.system, 'selinux'),
        apparmorProfiles: join(this.system, 'profiles'),
        apparmorDirectory: join(this.system, 'apparmor.d'),
        apparmorShipped: join(this.system, 'shipped'),
        program: join(this.plugins, 'aws_key_management_agent'),
        proc: join(this.system, 'proc'),
        auditLog: join(this.system, 'audit.log'),
        units: ['etc', 'run', 'lib'].map((name) => join(this.system, name)),
        systemd: join(this.system, 'systemd'),
        initScript: join(this.system, 'init.d-mariadb'),
        initDefaults: join(this.system, 'default-mariadb'),
      },
      environment,
      uid: 0,
      connectKms: async (target) =>
        this.spoil(
          await createKmsInspector({
            ...target,
            environment,
            trustedCertificates: undefined,
            secrets: new Secrets(),
            clock: systemClock,
          }),
        ),
      connectServer: async (target) => {
        throw new KeyError('SERVER_UNREACHABLE', `the server does not answer: ${nameOfTarget(target)}`);
      },
      ...this.options.surroundings,
      ...(this.options.surroundings?.files === undefined
        ? {}
        : { files: { ...this.options.surroundings.files, stat: mapped } }),
    };
  }

  #run(program: string, isHelp: boolean): CommandResult | undefined {
    const name = `${program.split('/').at(-1) ?? ''}${isHelp ? ' --help' : ''}`;
    const answers: Record<string, Partial<CommandResult> | undefined> = {
      mariadbd: { stdout: 'mariadbd  Ver 10.11.19-MariaDB for debian-linux-gnu on x86_64\n' },
      'mariadbd --help': { stdout: this.#variables() },
      'my_print_defaults --help': {},
      my_print_defaults: { stdout: this.#optionLines() },
      aws_key_management_agent: { stdout: '0.1.0 (0123456789ab)\n' },
      systemctl: { stdout: 'LoadState=loaded\nTimeoutStartUSec=15min\n' },
      ...this.options.programs,
    };
    const answer = answers[name];
    return answer === undefined ? undefined : { code: 0, stdout: '', stderr: '', ...answer };
  }

  #optionLines(): string {
    const healthy = {
      datadir: this.data,
      'plugin-dir': this.plugins,
      plugin_load_add: 'aws_key_management',
      'aws-key-management': 'FORCE_PLUS_PERMANENT',
      aws_key_management_master_key_id: ALIAS,
      aws_key_management_region: 'us-east-1',
      aws_key_management_endpoint_url: this.kms.url,
      secure_file_priv: this.system,
      innodb_encrypt_tables: 'ON',
      innodb_encryption_threads: '4',
      innodb_encrypt_log: '',
      innodb_encrypt_temporary_tables: 'ON',
      aria_encrypt_tables: '1',
      encrypt_tmp_disk_tables: 'ON',
      encrypt_tmp_files: 'ON',
      encrypt_binlog: 'ON',
      log_bin: 'binlog',
      ...this.options.options,
      ...this.alsoSet,
    };
    return Object.entries(healthy)
      .flatMap(([name, value]) => (value === undefined ? [] : [value === '' ? `--${name}` : `--${name}=${value}`]))
      .join('\n');
  }

  /** Variables as mariadbd prints them: those of the plugin if an option loads it. */
  #variables(): string {
    const lines = this.#optionLines().split('\n');
    const isLoaded = lines.some((line) => /^--plugin_load\w*=.*aws_key_management/.test(line));
    const rows = lines
      .filter((line) => isLoaded || !/^--(?:loose_)?aws/.test(line))
      .map((line) => line.replace(/^--/, '').replaceAll('_', '-').split('='))
      .map(([name = '', ...value]) => `${name.padEnd(40)} ${value.join('=')}`);
    return ['Variables (--variable-name=value)', `${'-'.repeat(40)} ${'-'.repeat(13)}`, ...rows].join('\n');
  }

  #normalise(line: string): string {
    return line
      .replaceAll(this.root, 'ROOT')
      .replaceAll(this.kms.url, 'KMS')
      .replaceAll(this.masterKeyArn, 'MASTER-KEY')
      .replaceAll(/request [0-9a-f-]{36}/g, 'request ID')
      .replaceAll(/key\/[0-9a-f-]{36}/g, 'key/ID')
      .replaceAll(/\b\d{8}T\d{6}Z\b/g, 'TIME')
      .replaceAll(/\b(?:99|100|101) s\b/g, '100 s')
      .replaceAll(/mrk-[0-9a-f]{32}/g, 'mrk-ID')
      .replaceAll(/probe-[0-9a-z]+|\.aws-kms-tmp-doctor-[0-9a-z]+/g, 'PROBE')
      .replaceAll(/SHA-256 is [0-9a-f]{64}, its sidecar says [0-9a-f]{64}/g, 'SHA-256 is A, its sidecar says B');
  }
}

export interface Transcript {
  readonly findings: readonly Finding[];
  /** The printed lines, with paths, addresses and ids replaced. */
  readonly lines: readonly string[];
  /** The failures and warnings among them, and the exit status. */
  readonly problems: string;
  readonly exit: number;
}

export async function newPatient(options: PatientOptions = {}): Promise<Patient> {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  cleanUp(() => void vi.unstubAllEnvs());
  const ahead = options.kmsAheadMs ?? 0;
  const clock: Clock = { ...systemClock, wallMs: () => Date.now() + ahead };
  const accessKey = { ...TEST_ACCESS_KEY, denied: [...SURPLUS, ...(options.denied ?? [])], ...options.accessKey };
  const kms = await startDevKms({ clock, aliases: [ALIAS], accessKeys: [accessKey] });
  cleanUp(() => kms.close());
  const sts = await startIdentitySts();
  const patient = new Patient(options, kms, sts.url);
  chmodSync(patient.root, 0o755);
  mkdirSync(patient.data, { mode: 0o750 });
  patient.write('plugins/aws_key_management.so', elf(62), 0o755);
  patient.write('plugins/aws_key_management_agent', 'agent', 0o755);
  const home = join(patient.root, 'home');
  patient.write(
    'system/passwd',
    options.accounts ?? `root:x:0:0::/root:/bin/sh\nmysql:x:${MYSQL}:${MYSQL}::${home}:/bin/false\n`,
  );
  patient.write('system/group', `mysql:x:${MYSQL}:\n`);
  const { accessKeyId, secretAccessKey, sessionToken } = accessKey;
  const token = sessionToken === undefined ? '' : `aws_session_token = ${sessionToken}\n`;
  patient.write(
    'home/.aws/credentials',
    `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n${token}`,
    0o600,
  );
  for (const key of options.keys ?? ['1.1', '1.2', '2.1']) patient.makeKey(key);
  return patient;
}

/** Lets a server run in the data directory. */
export function runServer(
  patient: Patient,
  environment = '',
  cgroup = '/user.slice/user-0.slice/session-1.scope',
): void {
  const process = join(patient.system, 'proc/4711');
  rmSync(process, { recursive: true, force: true });
  mkdirSync(join(process, 'ns'), { recursive: true });
  patient.write('system/proc/self/ns/mnt', '');
  symlinkSync(join(patient.system, 'proc/self/ns/mnt'), join(process, 'ns/mnt'));
  symlinkSync(patient.data, join(process, 'cwd'));
  patient.write('system/proc/4711/status', `Uid:\t${[MYSQL, MYSQL, MYSQL, MYSQL].join('\t')}\n`);
  patient.write('system/proc/4711/comm', 'mariadbd\n');
  patient.write('system/proc/4711/cgroup', `0::${cgroup}\n`);
  patient.write('system/proc/4711/environ', environment);
}

/** The header of a 64-bit shared library and the name that ours has in it. */
export function elf(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeUInt16LE(3, 16);
  header.writeUInt16LE(machine, 18);
  return Buffer.concat([header, Buffer.from('aws_key_management_agent\0')]);
}
