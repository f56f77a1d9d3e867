/**
 * The doctor's promise: "nothing found that stops the server" means that the server starts and has its keys, and a failure
 * means that it does not. Each row sets a server up, asks the doctor, and then starts the server. Where the doctor names a
 * cure, the row applies it, and the server starts.
 */
import { execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  PATH,
  PLUGIN_DIRECTORY,
  pluginOptions,
  ScratchServer,
  type ServerOptions,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { systemClock } from '../../src/cli/system.ts';
import { type DevKms, startDevKms, TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { TEMPLATE } from '../support/global-setup.ts';
import { MASTER_KEY } from '../support/lab.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

interface Finding {
  readonly check: string;
  readonly status: string;
  readonly found: string;
  readonly fix?: string;
  readonly isGap?: boolean;
}

interface Row {
  readonly name: string;
  readonly build: Build;
  /** True: only `npm run test:doctor` runs the row; `npm test` has rows of the same kind. */
  readonly isSeldom?: true;
  /** Server options in addition to those of the build. */
  readonly options?: (site: Site) => ServerOptions;
  readonly spoil?: (site: Site) => void;
  /** Undefined: nothing stops the server. */
  readonly failure?: { readonly check: string; readonly found: RegExp };
  /**
   * The cure that the doctor prints: a command, which runs where the package was unpacked; a line that comes into the option
   * file; or words, which `cure` follows.
   */
  readonly fix?: 'command' | 'option' | RegExp;
  /** Carries out the doctor's words, or further steps after its command or option. */
  readonly cure?: (site: Site) => void;
}

interface Build {
  readonly options: ServerOptions;
  readonly statements: readonly string[];
}

const TABLE = '(i INT PRIMARY KEY, s VARCHAR(100))';
const FRESH: Build = { options: {}, statements: [] };
const EVERYTHING: Build = {
  options: EVERYTHING_ENCRYPTED,
  statements: [
    'CREATE DATABASE d',
    `CREATE TABLE d.five ${TABLE} ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5`,
    "INSERT INTO d.five VALUES (1, 'x')",
    `CREATE TABLE d.aria ${TABLE} ENGINE=Aria`,
    "INSERT INTO d.aria VALUES (1, 'x')",
    'SET GLOBAL aws_key_management_rotate_key=5',
    `CREATE TABLE d.newer ${TABLE} ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5`,
    "INSERT INTO d.newer VALUES (1, 'x')",
  ],
};
const ONE_TABLE: Build = {
  options: {},
  statements: [
    'CREATE DATABASE d',
    `CREATE TABLE d.five ${TABLE} ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5`,
    "INSERT INTO d.five VALUES (1, 'x')",
  ],
};
const ARIA_ALONE: Build = {
  options: { aria_encrypt_tables: 'ON' },
  statements: ['CREATE DATABASE d', `CREATE TABLE d.aria ${TABLE} ENGINE=Aria`, "INSERT INTO d.aria VALUES (1, 'x')"],
};
const BINARY_LOG_ALONE: Build = {
  options: { encrypt_binlog: 'ON', log_bin: 'binlog' },
  statements: ['CREATE DATABASE d', 'FLUSH BINARY LOGS'],
};

/** Small and quick to start. */
const SMALL: ServerOptions = {
  innodb_buffer_pool_size: '16M',
  innodb_log_file_size: '4M',
  innodb_use_native_aio: 0,
  aria_pagecache_buffer_size: '8M',
  key_buffer_size: '1M',
  performance_schema: 'OFF',
  skip_networking: 'ON',
};

const root = mkdtempSync(join(tmpdir(), 'mak-doctor-'));
const built = new Map<Build, Promise<string>>();
let kms: DevKms;

beforeAll(async () => {
  chmodSync(root, 0o755);
  const denied = ['GenerateDataKey', 'Encrypt', 'ReEncrypt', 'CreateGrant'];
  kms = await startDevKms({
    clock: systemClock,
    aliases: [MASTER_KEY],
    accessKeys: [{ ...TEST_ACCESS_KEY, denied }],
  });
});

afterAll(async () => {
  await kms.close();
  rmSync(root, { recursive: true, force: true });
});

/** A data directory that a server with these options wrote, and shut down in an orderly way. */
async function build(what: Build): Promise<string> {
  const path = join(root, `build-${built.size}`);
  const server = new ScratchServer({ directory: path, options: pluginOptions(kms.url, what.options) });
  server.copyDatabase(TEMPLATE);
  if (what.statements.length === 0) return server.datadir;
  try {
    await server.start();
    for (const statement of what.statements) await server.sql(statement);
    await server.stop();
  } finally {
    await server.kill();
  }
  return server.datadir;
}

/** A server's directories and its option file, as an administrator has them. */
class Site {
  readonly directory = scratchDirectory();
  readonly datadir = join(this.directory, 'data');
  readonly keys = join(this.directory, 'keys');
  /** A directory for files that a row moves away. */
  readonly away = join(this.directory, 'away');
  readonly file = join(this.directory, 'my.cnf');
  readonly plugins = join(this.directory, 'plugins');
  readonly server: ScratchServer;
  options: ServerOptions = {};
  /** Lines after the options; an option may appear a second time there. */
  readonly more: string[] = [];
  /** The user that the service manager starts the server as. */
  user: string | undefined;

  constructor() {
    mkdirSync(this.away);
    mkdirSync(this.keys);
    mkdirSync(join(this.directory, 'tmp'));
    const script = join(this.directory, 'mariadbd');
    writeFileSync(script, `#!/bin/sh\nexec $SET_USER mariadbd --defaults-file=${this.file}\n`, { mode: 0o755 });
    this.server = new ScratchServer({ directory: this.directory, mariadbd: script });
  }

  write(): void {
    const options: ServerOptions = {
      datadir: this.datadir,
      socket: this.server.socket,
      pid_file: join(this.directory, 'pid'),
      log_error: this.server.logFile,
      tmpdir: join(this.directory, 'tmp'),
      plugin_dir: PLUGIN_DIRECTORY,
      user: this.user ?? 'root',
      ...SMALL,
      ...this.options,
    };
    const lines = Object.entries(options).flatMap(([name, value]) => {
      if (value === undefined) return [];
      return [value === true ? name : `${name} = ${value}`];
    });
    writeFileSync(this.file, ['[mariadb]', ...lines, ...this.more, ''].join('\n'));
  }

  async doctor(): Promise<{ readonly code: number; readonly findings: readonly Finding[] }> {
    // Root's own copy: the site's directory may belong to the server's user.
    const env = { PATH, HOME: root, AWS_EC2_METADATA_DISABLED: 'true', ...TEST_CREDENTIALS };
    const options = ['doctor', `--defaults-file=${this.file}`, '--sts-endpoint-url', 'http://127.0.0.1:9', '--json'];
    return await new Promise((resolve, reject) => {
      execFile(COMMAND, options, { env, encoding: 'utf8' }, (error, stdout, stderr) => {
        if (stdout === '') reject(new Error(`the doctor said nothing: ${stderr}`));
        else resolve({ code: error === null ? 0 : Number(error.code), findings: JSON.parse(stdout) });
      });
    });
  }

  /** Starts the server and reads every table. Returns the error, or undefined. */
  async trouble(): Promise<string | undefined> {
    const { server } = this;
    server.environment = { ...TEST_CREDENTIALS, SET_USER: this.user === undefined ? '' : setUser(this.user) };
    try {
      await server.start();
      const [plugin] = await server.sql(
        "SELECT PLUGIN_STATUS AS status FROM information_schema.PLUGINS WHERE PLUGIN_NAME='aws_key_management'",
      );
      if (plugin?.['status'] !== 'ACTIVE') return 'the server runs without the plugin';
      const tables = await server.sql(
        "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA='d'",
      );
      for (const { name } of tables) await server.sql(`SELECT * FROM d.${String(name)}`);
      return undefined;
    } catch (error) {
      return String(error);
    } finally {
      await server.kill();
    }
  }

  keyFiles(pattern = /^aws-kms-key/): readonly string[] {
    return readdirSync(this.datadir).filter((name) => pattern.test(name));
  }

  /** Moves key files of the data directory. */
  moveKeys(to: string, pattern?: RegExp): void {
    for (const name of this.keyFiles(pattern)) renameSync(join(this.datadir, name), join(to, name));
  }

  returnKeys(): void {
    for (const name of readdirSync(this.away)) renameSync(join(this.away, name), join(this.datadir, name));
  }

  ownPlugins(): void {
    mkdirSync(this.plugins, { recursive: true });
    for (const name of ['aws_key_management.so', 'aws_key_management_agent']) {
      cpSync(join(PLUGIN_DIRECTORY, name), join(this.plugins, name));
    }
    this.options = { ...this.options, plugin_dir: this.plugins };
  }

  replaceLine(before: string, after: string): void {
    const at = this.more.indexOf(before);
    this.more.splice(at, 1, ...(after === '' ? [] : [after]));
  }
}

function setUser(name: string): string {
  return `setpriv --reuid=${name} --regid=nogroup --clear-groups`;
}

/** Replaces the bytes of every key file, as if they were another server's. */
function otherServersKeys(site: Site): void {
  const names = site.keyFiles(/^aws-kms-key\.\d+\.\d+$/);
  site.moveKeys(site.away);
  for (const name of names) {
    const { ciphertextBlob } = kms.kms.generateDataKeyWithoutPlaintext({
      region: 'us-east-1',
      keyId: kms.keyArns[0] ?? '',
      keySpec: 'AES_128',
      encryptionContext: {},
    });
    writeFileSync(join(site.datadir, name), ciphertextBlob, { mode: 0o600 });
  }
}

const KEYS_BACK =
  /^do not use innodb_force_recovery; (?:if another key management plugin encrypted this data, bring its keys in: mariadb-aws-kms import --help; if not, )?copy the key files from where this data came from, or from a backup of them:\ninstall -o \S+ -g \S+ -m 0600 BACKUP\/aws-kms-key\.\* \S+data\/$/;
const FORCE = /^aws_key_management = FORCE_PLUS_PERMANENT$/;

const ROWS: readonly Row[] = [
  { name: 'a fresh data directory, and no keys yet', build: FRESH },
  { name: 'everything is encrypted, and all keys are there', build: EVERYTHING },
  {
    name: 'all key files are gone',
    build: EVERYTHING,
    spoil: (site) => site.moveKeys(site.away),
    failure: {
      check: 'data',
      found: /^key 1 version 1 is not among the key files, and ib_logfile0 .*is encrypted with it/,
    },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: "the key files are another server's",
    build: EVERYTHING,
    spoil: otherServersKeys,
    failure: {
      check: 'unwrap',
      found: /^key \d version \d is among the key files, and \S+ is encrypted with another key of this number/,
    },
    fix: /^do not use innodb_force_recovery; move the files aws-kms-key\.\* away from \S+data and keep them, .*:\ninstall -o \S+ -g \S+ -m 0600 BACKUP\/aws-kms-key\.\* \S+data\/$/,
    cure(site) {
      site.moveKeys(site.keys);
      site.returnKeys();
    },
  },
  {
    name: 'the newest version of a key is missing',
    build: EVERYTHING,
    spoil: (site) => site.moveKeys(site.away, /^aws-kms-key\.5\.2/),
    failure: {
      check: 'data',
      found: /^key 5 version 2 is not among the key files, and d\/\w+\.ibd/,
    },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'one key among others is missing',
    isSeldom: true,
    build: EVERYTHING,
    spoil: (site) => site.moveKeys(site.away, /^aws-kms-key\.5\./),
    failure: { check: 'data', found: /^key 5 version \d is not among the key files, and d\/\w+\.ibd/ },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'keyfile_dir points at an empty directory',
    build: EVERYTHING,
    spoil(site) {
      site.options = { ...site.options, aws_key_management_keyfile_dir: site.keys };
    },
    failure: { check: 'data', found: /^key 1 version 1 is not among the key files/ },
    fix: 'command',
  },
  {
    name: 'only a table of Aria is encrypted, and its key is gone',
    isSeldom: true,
    build: ARIA_ALONE,
    spoil: (site) => site.moveKeys(site.away),
    failure: { check: 'data', found: /^key 1 version 1 is not among the key files, and \S+\.MAI/ },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'only the binary log is encrypted, and its key is gone',
    isSeldom: true,
    build: BINARY_LOG_ALONE,
    spoil: (site) => site.moveKeys(site.away),
    failure: { check: 'data', found: /^key 1 version 1 is not among the key files, and binlog\.00000\d/ },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'the redo log has a directory of its own, and its key is gone',
    build: { options: { innodb_encrypt_log: 'ON' }, statements: ['CREATE DATABASE d'] },
    spoil(site) {
      const redo = join(site.directory, 'redo');
      mkdirSync(redo);
      renameSync(join(site.datadir, 'ib_logfile0'), join(redo, 'ib_logfile0'));
      site.options = { ...site.options, innodb_log_group_home_dir: redo };
      site.moveKeys(site.away);
    },
    failure: {
      check: 'data',
      found: /^key 1 version 1 is not among the key files, and \/\S+\/redo\/ib_logfile0 is encrypted with it/,
    },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'a table has a directory of its own, and its key is gone',
    isSeldom: true,
    build: ONE_TABLE,
    spoil(site) {
      const outside = join(site.directory, 'outside/d');
      mkdirSync(outside, { recursive: true });
      renameSync(join(site.datadir, 'd/five.ibd'), join(outside, 'five.ibd'));
      writeFileSync(join(site.datadir, 'd/five.isl'), join(outside, 'five.ibd'));
      site.moveKeys(site.away, /^aws-kms-key\.5\./);
    },
    failure: { check: 'data', found: /^key 5 version 1 is not among the key files, and \/\S+\/outside\/d\/five\.ibd/ },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'the system tablespace has a directory of its own, and its key is gone',
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      const home = join(site.directory, 'home');
      mkdirSync(home);
      renameSync(join(site.datadir, 'ibdata1'), join(home, 'ibdata1'));
      site.options = { ...site.options, innodb_data_home_dir: home };
      site.moveKeys(site.away);
    },
    failure: { check: 'data', found: /^key 1 version 1 is not among the key files/ },
    fix: KEYS_BACK,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'a key file was replaced, and has no sidecar that tells',
    build: EVERYTHING,
    spoil(site) {
      site.moveKeys(site.away, /^aws-kms-key\.5\.1/);
      writeFileSync(join(site.datadir, 'aws-kms-key.5.1'), 'not of KMS', { mode: 0o600 });
    },
    failure: { check: 'unwrap', found: /key 5 version 1: KMS Decrypt failed/ },
    fix: /^the file is not what KMS made for this key: restore it from a backup$/,
    cure: (site) => site.returnKeys(),
  },
  {
    name: 'plugin_load forgets plugin_load_add',
    build: EVERYTHING,
    spoil: (site) => void site.more.push('plugin_load = auth_socket'),
    failure: { check: 'activation', found: /^plugin_load = auth_socket comes later and undoes/ },
    fix: /^plugin_load_add = auth_socket, in the place of plugin_load$/,
    cure: (site) => site.replaceLine('plugin_load = auth_socket', 'plugin_load_add = auth_socket'),
  },
  {
    name: 'plugin_load forgets plugin_load_add, where no option needs the plugin',
    isSeldom: true,
    build: EVERYTHING,
    options: () => loose(pluginOptions(kms.url)),
    spoil: (site) => void site.more.push('plugin_load = auth_socket'),
    failure: { check: 'activation', found: /^plugin_load = auth_socket comes later and undoes/ },
    fix: /^plugin_load_add = auth_socket, in the place of plugin_load$/,
    cure: (site) => site.replaceLine('plugin_load = auth_socket', 'plugin_load_add = auth_socket'),
  },
  {
    name: "the plugin's name is misspelt",
    build: EVERYTHING,
    options: () => ({ plugin_load_add: 'aws_key_managment' }),
    failure: { check: 'activation', found: /^no plugin has the name of "aws_key_managment"/ },
    fix: /^in \S+, section \[mariadb\]: plugin_load_add = aws_key_management$/,
    cure(site) {
      site.options = { ...site.options, plugin_load_add: 'aws_key_management' };
    },
  },
  {
    name: 'nothing loads the plugin, and no option needs it',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ ...loose(pluginOptions(kms.url)), plugin_load_add: undefined }),
    failure: { check: 'activation', found: /loads the plugin/ },
    fix: 'option',
  },
  {
    name: 'plugin_dir is wrong',
    isSeldom: true,
    build: EVERYTHING,
    options: (site) => ({ plugin_dir: site.keys }),
    failure: { check: 'plugin-library', found: /^there is no \S+\/keys\/aws_key_management\.so/ },
    fix: 'command',
  },
  {
    name: 'the library was cut short by a full disk',
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      site.ownPlugins();
      writeFileSync(join(site.plugins, 'aws_key_management.so'), '');
    },
    failure: { check: 'plugin-library', found: /is no ELF file/ },
    fix: /^install the library of the \S+ package$/,
    cure: (site) => site.ownPlugins(),
  },
  {
    name: 'the agent is not beside the library',
    build: EVERYTHING,
    spoil(site) {
      site.ownPlugins();
      rmSync(join(site.plugins, 'aws_key_management_agent'));
    },
    failure: { check: 'agent', found: /^there is no \S+aws_key_management_agent/ },
    fix: 'command',
  },
  {
    name: 'the agent may not be executed',
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      site.ownPlugins();
      chmodSync(join(site.plugins, 'aws_key_management_agent'), 0o644);
    },
    failure: { check: 'agent', found: /may not execute \S+aws_key_management_agent/ },
    fix: 'command',
  },
  {
    name: 'aws_key_management_agent names a program that is none of ours',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ aws_key_management_agent: '/bin/true' }),
    failure: { check: 'agent', found: /^\/bin\/true does not run/ },
    fix: 'option',
  },
  {
    name: 'aws_key_management_agent is no absolute path',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ aws_key_management_agent: 'agent' }),
    failure: { check: 'agent', found: /expected an absolute path/ },
    fix: 'option',
  },
  {
    name: 'nothing listens on the socket of a separate agent',
    isSeldom: true,
    build: EVERYTHING,
    options: (site) => ({
      aws_key_management_agent: `unix:${site.directory}/none`,
      aws_key_management_start_timeout: 3,
    }),
    failure: { check: 'agent', found: /^no agent listens on/ },
    fix: /^mariadb-aws-kms agent --listen \S+ --keyfile-dir DIR, or its service, must run before the server$/,
  },
  {
    name: 'the plugin is OFF',
    build: EVERYTHING,
    options: () => ({ aws_key_management: 'OFF' }),
    failure: { check: 'activation', found: /OFF: the plugin is not started/ },
    fix: 'option',
  },
  {
    name: 'the plugin is skipped',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ aws_key_management: undefined, skip_aws_key_management: true }),
    failure: { check: 'activation', found: /OFF: the plugin is not started/ },
    fix: 'option',
  },
  {
    name: 'the value of aws_key_management is none',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ aws_key_management: 'ALWAYS' }),
    failure: { check: 'activation', found: /expected OFF, ON, FORCE or FORCE_PLUS_PERMANENT, got "ALWAYS"/ },
    fix: FORCE,
    cure(site) {
      site.options = { ...site.options, aws_key_management: 'FORCE_PLUS_PERMANENT' };
    },
  },
  {
    name: 'the plugin is loaded twice',
    isSeldom: true,
    build: EVERYTHING,
    spoil: (site) => void site.more.push('plugin_load_add = aws_key_management.so'),
  },
  {
    name: 'an option of the plugin is misspelt',
    build: EVERYTHING,
    spoil: (site) => void site.more.push('aws_key_management_regoin = us-east-1'),
    failure: { check: 'option-files', found: /^aws_key_management_regoin is no option of the plugin/ },
    fix: /^correct its name, or remove it$/,
    cure: (site) => site.replaceLine('aws_key_management_regoin = us-east-1', 'aws_key_management_region = us-east-1'),
  },
  {
    name: 'an option of the server is misspelt',
    isSeldom: true,
    build: EVERYTHING,
    spoil: (site) => void site.more.push('innodb_encrypt_tabels = ON'),
    failure: { check: 'server-options', found: /unknown variable 'innodb_encrypt_tabels=ON'/ },
    fix: /^correct or remove the option; nothing else is tried before$/,
    cure: (site) => site.replaceLine('innodb_encrypt_tabels = ON', ''),
  },
  {
    name: 'an unknown option that begins with loose_',
    isSeldom: true,
    build: EVERYTHING,
    spoil: (site) => void site.more.push('loose_innodb_encrypt_tabels = ON'),
  },
  {
    name: 'plugin_maturity is none',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ plugin_maturity: 'ripe' }),
    failure: { check: 'server-version', found: /^plugin_maturity: expected .*, got "ripe"/ },
    fix: 'option',
  },
  {
    name: 'plugin_maturity is stable',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ plugin_maturity: 'stable' }),
  },
  {
    name: 'a variable of the plugin has a value that the server does not take',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ aws_key_management_key_spec: 'AES_192' }),
    failure: { check: 'option-files', found: /key_spec: expected AES_128 or AES_256/ },
    fix: /^correct it in the option file$/,
    cure(site) {
      site.options = { ...site.options, aws_key_management_key_spec: 'AES_256' };
    },
  },
  {
    name: 'a variable of InnoDB has a value that it does not take',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ innodb_encrypt_tables: 'MAYBE' }),
    failure: { check: 'encryption-settings', found: /^innodb_encrypt_tables: expected OFF, ON or FORCE, got "MAYBE"/ },
    fix: 'option',
  },
  {
    name: 'an option comes twice, and the later value is the right one',
    isSeldom: true,
    build: EVERYTHING,
    options: () => ({ aws_key_management_endpoint_url: 'http://127.0.0.1:9' }),
    spoil: (site) => void site.more.push(`aws_key_management_endpoint_url = ${kms.url}`),
  },
  {
    name: 'everybody may write the option file',
    build: EVERYTHING,
    spoil(site) {
      site.write();
      chmodSync(site.file, 0o666);
    },
    failure: {
      check: 'option-files',
      found: /^everybody may write \S+my\.cnf \(mode 0666.*the server ignores the options/,
    },
    fix: 'command',
  },
  {
    name: 'the key directory does not exist',
    isSeldom: true,
    build: EVERYTHING,
    options: (site) => ({ aws_key_management_keyfile_dir: join(site.directory, 'nowhere') }),
    failure: { check: 'key-directory', found: /^there is no directory \S+nowhere/ },
    fix: 'command',
    cure: (site) => {
      site.moveKeys(join(site.directory, 'nowhere'));
    },
  },
  {
    name: 'the data directory does not exist',
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      site.moveKeys(site.keys);
      site.options = {
        ...site.options,
        aws_key_management_keyfile_dir: site.keys,
        datadir: join(site.directory, 'nowhere'),
      };
    },
    failure: { check: 'data', found: /^there is no data directory \S+nowhere/ },
    fix: 'command',
  },
  {
    name: 'KMS is somewhere else',
    build: EVERYTHING,
    options: () => ({ aws_key_management_endpoint_url: 'http://127.0.0.1:9', aws_key_management_start_timeout: 3 }),
    failure: { check: 'endpoint', found: /ECONNREFUSED/ },
    fix: /^the server must reach the KMS endpoint: check aws_key_management_region, aws_key_management_endpoint_url, /,
    cure(site) {
      site.options = { ...site.options, aws_key_management_endpoint_url: kms.url };
    },
  },
  {
    name: 'the master key is none that KMS knows, and no key is needed',
    isSeldom: true,
    build: FRESH,
    options: () => ({ aws_key_management_master_key_id: 'alias/other', innodb_encrypt_tables: 'ON' }),
    failure: { check: 'master-key', found: /alias\/other/ },
    fix: /^no such master key here: check aws_key_management_master_key_id /,
    cure(site) {
      site.options = { ...site.options, aws_key_management_master_key_id: MASTER_KEY };
    },
  },
  {
    name: 'key ids leave out the key that InnoDB needs',
    isSeldom: true,
    build: FRESH,
    options: () => ({ aws_key_management_key_ids: '5-9', innodb_encrypt_tables: 'ON' }),
    failure: { check: 'key-files', found: /there is no key 1, and aws_key_management_key_ids does not allow it/ },
    fix: 'option',
  },
];

/** Options that a server without the plugin passes over. */
function loose(options: ServerOptions): ServerOptions {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [/^aws_/.test(name) ? `loose_${name}` : name, value]),
  );
}

/** Only root can start a server as somebody else. */
const OTHER_USER_ROWS: readonly Row[] = [
  { name: 'the server runs as another user, who owns everything', build: EVERYTHING },
  {
    name: "the option file may not be read by the server's user",
    build: EVERYTHING,
    spoil(site) {
      site.write();
      chmodSync(site.file, 0o600);
    },
    failure: { check: 'option-files', found: /^nobody may not read \S+my\.cnf/ },
    fix: 'command',
  },
  {
    name: "the library may not be read by the server's user",
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      site.ownPlugins();
      chmodSync(join(site.plugins, 'aws_key_management.so'), 0o600);
    },
    failure: { check: 'plugin-library', found: /^nobody may not read \S+aws_key_management\.so/ },
    fix: 'command',
  },
  {
    name: "a key file may not be read by the server's user",
    build: EVERYTHING,
    spoil: (site) => execChown('root', join(site.datadir, 'aws-kms-key.5.1')),
    failure: { check: 'key-files', found: /(?:cannot|may not) read \S*.*aws-kms-key\.5\.1/ },
    fix: 'command',
  },
  {
    name: "the data directory may not be entered by the server's user",
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      site.moveKeys(site.keys);
      site.options = { ...site.options, aws_key_management_keyfile_dir: site.keys };
      chmodSync(site.datadir, 0o000);
    },
    failure: { check: 'data', found: /^nobody may not list and write \S+data/ },
    fix: 'command',
  },
  {
    name: "the directories above the data may not be entered by the server's user",
    isSeldom: true,
    build: EVERYTHING,
    spoil(site) {
      const above = join(site.directory, 'above');
      mkdirSync(join(above, 'more'), { recursive: true, mode: 0o700 });
      chmodSync(join(above, 'more'), 0o700);
      renameSync(site.datadir, join(above, 'more/data'));
      site.options = { ...site.options, datadir: join(above, 'more/data') };
    },
    failure: { check: 'key-directory', found: /^nobody may not enter \S+above \(mode 0700/ },
    fix: 'command',
  },
];

function execChown(user: string, ...paths: readonly string[]): void {
  execFileSync('chown', ['-R', user, ...paths]);
}

function selected(rows: readonly Row[]): readonly (readonly [string, Row])[] {
  const all = process.env['MAK_DOCTOR'] === 'all';
  return rows.filter(({ isSeldom }) => all || isSeldom === undefined).map((row) => [row.name, row] as const);
}

async function confirm(row: Row, user: string | undefined): Promise<void> {
  const site = new Site();
  cleanUp(() => site.server.kill());
  site.user = user;
  // A private home keeps other users out of a checkout below it.
  if (user !== undefined) site.ownPlugins();
  let template = built.get(row.build);
  if (template === undefined) {
    template = build(row.build);
    built.set(row.build, template);
  }
  cpSync(await template, site.datadir, { recursive: true });
  site.options = { ...pluginOptions(kms.url), ...row.build.options, ...row.options?.(site) };
  if (user !== undefined) {
    chmodSync(site.directory, 0o755);
    execChown(user, site.directory);
  }
  row.spoil?.(site);
  if (!existsSync(site.file)) site.write();
  const { code, findings } = await site.doctor();
  const failures = findings.filter(({ status }) => status === 'failure');
  const trouble = await site.trouble();
  const log = site.server.log.split('\n').filter((line) => /ERROR|AWS KMS/.test(line));
  const said = [...failures.map(({ check, found }) => `${check}: ${found}`), ...log].join('\n');
  expect(trouble === undefined, `${said}\n${trouble ?? 'the server starts'}`).toBe(row.failure === undefined);
  // The doctor and the server agree.
  expect(code, `${said}\n${trouble ?? 'the server starts'}`).toBe(trouble === undefined ? 0 : 1);
  if (row.failure === undefined) expect(findings.filter(({ isGap }) => isGap)).toEqual([]);
  else
    expect(failures).toContainEqual(
      expect.objectContaining({ check: row.failure.check, found: expect.stringMatching(row.failure.found) }),
    );
  const named = failures.find(({ check, found }) => check === row.failure?.check && row.failure.found.test(found));
  if (row.fix instanceof RegExp) expect(named?.fix).toMatch(row.fix);
  if (row.cure === undefined && row.fix !== 'command' && row.fix !== 'option') return;
  if (row.fix === 'command') {
    // Some fixes first name the user who lacks a permission.
    const command = named?.fix?.replace(/^the server runs as .*: (?=chown )/, '') ?? 'false';
    execFileSync('sh', ['-e', '-c', command], { cwd: PLUGIN_DIRECTORY });
  }
  if (row.fix === 'option') {
    const line = named?.fix?.replace(/^in \S+, section \[mariadb\]: /, '');
    expect(line).toMatch(/^\w+ = \S+$/);
    const [name = '', value = ''] = line?.split(' = ') ?? [];
    // An existing line is corrected in place: the server refuses a bad value even if a better one follows.
    if (site.options[name] === undefined) site.more.push(`${name} = ${value}`);
    else site.options = { ...site.options, [name]: value };
  }
  row.cure?.(site);
  const { mode } = statSync(site.file);
  site.write();
  chmodSync(site.file, mode);
  const after = await site.doctor();
  expect(after.findings.filter(({ status }) => status === 'failure')).toEqual([]);
  expect(after.code).toBe(0);
  expect(await site.trouble()).toBeUndefined();
}

it.each(selected(ROWS))('the server agrees with the doctor: %s', async (_, row) => {
  await confirm(row, undefined);
});

it.each(selected(OTHER_USER_ROWS))('the server agrees with the doctor: %s', async (_, row) => {
  expect(process.getuid?.(), 'this starts a server as another user: run it as root').toBe(0);
  await confirm(row, 'nobody');
});
