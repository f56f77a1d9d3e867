import { KeyError } from '../errors.ts';
import { ENCRYPTION_ALGORITHMS } from './encryption-algorithm.ts';
import { MAX_CONTEXT_TEXT } from './encryption-context.ts';
import { KEY_SPECS } from './sidecar.ts';

/**
 * The levels of `aws_key_management_log_level`, from quiet to verbose: those of the AWS SDK, with the names of the C++
 * plugin.
 */
export const LOG_LEVELS = ['Off', 'Fatal', 'Error', 'Warn', 'Info', 'Debug', 'Trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface Described {
  /** True if SET GLOBAL changes it while the server runs. */
  readonly isDynamic: boolean;
  /**
   * The first protocol version that passes it to the agent: in HELLO, and changes in SET. Undefined: the plugin keeps
   * it.
   */
  readonly wire: number | undefined;
  /** Its name in frames, where that is not the variable's. */
  readonly wireName?: string;
  /** The first release with this variable. */
  readonly since: string;
  /** The difference of the C++ plugin's variable of this name; empty: there is none; absent: it has no such variable. */
  readonly cpp?: string;
  /** The server's own description of the variable, verbatim. */
  readonly sentence: string;
  /** Paragraphs for the option file and the reference. A line that begins with two spaces is a command. */
  readonly explanation: readonly string[];
  /** A value for the option file, where the default would explain nothing. */
  readonly example?: string;
  /** The option file requires it, except in this case; empty: always. */
  readonly mustUnless?: string;
  /** True: an agent that listens on a socket takes it from its own command line, as an option of the same name. */
  readonly isAgentOption?: boolean;
  /** True if SET triggers an action; ignored at the start of the server. */
  readonly isCommand?: boolean;
}

export interface TextSetting extends Described {
  readonly type: 'text';
  readonly default: '';
  /** The most bytes; undefined: a path, limited by the system. */
  readonly maxBytes: number | undefined;
}

export interface ChoiceSetting<T extends string = string> extends Described {
  readonly type: 'choice';
  readonly choices: readonly T[];
  readonly default: T;
}

/** ON or OFF. */
export interface SwitchSetting extends Described {
  readonly type: 'switch';
  readonly default: boolean;
}

/** A whole number. The server replaces one beyond the range by the nearest limit. */
export interface NumberSetting extends Described {
  readonly type: 'number';
  readonly unit: string;
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

export type Setting = TextSetting | ChoiceSetting | SwitchSetting | NumberSetting;

/**
 * Every system variable of the plugin, without `aws_key_management_`, in the order of the option file. The parsers of
 * the agent and the doctor use its types, choices, ranges and defaults; packaging/aws_key_management.cnf and part of
 * docs/reference.md are generated from it; tests compare the plugin's own tables.
 */
export const SETTINGS = {
  master_key_id: {
    type: 'text',
    default: '',
    maxBytes: 2048,
    isDynamic: true,
    wire: 1,
    since: '0.1.0',
    cpp: 'takes any value without a check',
    sentence:
      'AWS KMS key id, ARN or alias/name of the master key under which new data keys are created. Empty: none are created',
    explanation: ['Existing keys load without it. A change takes effect with the next key that is created.'],
    example: 'alias/mariadb-encryption',
    mustUnless: '',
  },
  region: {
    type: 'text',
    default: '',
    maxBytes: 128,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    cpp: '',
    isAgentOption: true,
    sentence: 'AWS region. Empty: what the AWS configuration says, then us-east-1',
    explanation: ['A master key that is not multi-Region exists in one Region only.'],
    example: 'eu-central-1',
    mustUnless: "unless the AWS configuration of the server's user has it",
  },
  key_spec: {
    type: 'choice',
    default: 'AES_128',
    choices: KEY_SPECS,
    isDynamic: true,
    wire: 1,
    since: '0.1.0',
    cpp: '',
    sentence: 'Length of new data keys: AES_128 or AES_256',
    explanation: ['InnoDB and Aria derive 128-bit keys from either.'],
  },
  encryption_algorithm: {
    type: 'choice',
    default: 'AES_CBC',
    choices: ENCRYPTION_ALGORITHMS,
    isDynamic: true,
    wire: 1,
    since: '0.1.0',
    sentence:
      'What new key versions encrypt with: AES_CBC, or AES_CTR, which is faster and which the C++ plugin cannot read. Existing versions keep theirs',
    explanation: [
      'Either value reads everything. The C++ plugin reads neither versions of AES_CTR nor data under them.',
    ],
  },
  endpoint_url: {
    type: 'text',
    default: '',
    maxBytes: 2048,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    cpp: 'since MariaDB 10.5.7',
    isAgentOption: true,
    sentence: 'URL of another KMS endpoint (VPC, FIPS, local)',
    explanation: ["Empty: the Region's public one."],
  },
  encryption_context: {
    type: 'text',
    default: '',
    maxBytes: MAX_CONTEXT_TEXT,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    sentence:
      'Pairs name=value, separated by commas, that new data keys are bound to, with their key id and version. Empty: to nothing',
    explanation: [
      'KMS then opens a key in its place only, and CloudTrail shows whose it was. Recommended. No secrets. The C++ plugin cannot open keys that were made with it.',
    ],
    example: 'cluster=orders',
  },
  failover_regions: {
    type: 'text',
    default: '',
    maxBytes: 1024,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    isAgentOption: true,
    sentence:
      'AWS regions, separated by commas, that hold replicas of a multi-Region master key and unwrap when the first cannot',
    explanation: ['They are tried in this order. REGION=URL names one that is reached by an endpoint of its own.'],
    example: 'eu-west-1,eu-central-2',
  },
  request_timeout: {
    type: 'number',
    unit: 'milliseconds',
    default: 0,
    min: 0,
    max: 2_147_483_647,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    cpp: '0 leaves the limits of its SDK',
    sentence: 'Milliseconds for connecting to KMS and for each request. 0: 5000 for connecting, 10000 for a request',
    explanation: [],
  },
  start_timeout: {
    type: 'number',
    unit: 'seconds',
    default: 60,
    min: 1,
    max: 3600,
    isDynamic: false,
    wire: undefined,
    since: '0.1.0',
    sentence: 'Seconds that the plugin waits for KMS when it is initialised',
    explanation: [
      "The start fails after them, unless allow_missing_keys is ON. systemd's TimeoutStartSec must be longer. Debian's /etc/init.d/mariadb looks 30 times, once a second, and then reports a failure while the server goes on starting: MYSQLD_STARTUP_TIMEOUT=90 in /etc/default/mariadb makes it 90 times.",
    ],
  },
  watch_interval: {
    type: 'number',
    unit: 'seconds',
    default: 3600,
    min: 0,
    max: 604_800,
    isDynamic: false,
    wire: undefined,
    since: '0.1.0',
    sentence: 'Seconds between looks whether the master keys are usable, also when nothing needs KMS. 0: never',
    explanation: [
      'A running server would not notice a disabled or soon deleted master key before its next start; this tells the error log and Aws_key_management_master_key_state. A look is one Decrypt (dry run) per master key, and one per key version without a sidecar, because only KMS knows its master key; kms:DescribeKey, where it is allowed, adds the days left.',
    ],
  },
  keyfile_dir: {
    type: 'text',
    default: '',
    maxBytes: 4095,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    cpp: 'since MariaDB 11.0.2',
    isAgentOption: true,
    sentence: 'Directory of the key files. Empty: the data directory',
    explanation: [
      'From the data directory mariadb-backup copies them into every backup. Elsewhere they are yours to back up: without them no backup can be read.',
      'A directory of their own is recommended, for it keeps the keys apart from everything else that is written to the data directory:',
      '  install -d -m 0750 -o mysql -g mysql /var/lib/mariadb-aws-kms',
      'Not below /etc, /usr or /home: the units of Debian and Red Hat make these read-only or hide them from the server.',
    ],
    example: '/var/lib/mariadb-aws-kms',
  },
  key_ids: {
    type: 'text',
    default: '',
    maxBytes: 4096,
    isDynamic: true,
    wire: 1,
    since: '0.1.0',
    sentence:
      'Key ids that may be created, such as 1-2,100-199, without a limit to their number. Empty: any, within limits',
    explanation: [
      'Whoever may create a table may create keys. With an empty list SQL can ask for 100 new keys at once, then one a second, until the server has 100 key versions for each second of start_timeout.',
    ],
  },
  allow_missing_keys: {
    type: 'switch',
    default: false,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    sentence:
      'Start although some stored key version cannot be unwrapped, and go on trying. Its tables read as corrupted until the key has loaded and the server was restarted',
    explanation: [
      'Whatever needs such a key fails at once meanwhile. Never DROP those tables. InnoDB ends a server all the same that misses a key of its redo log, system tablespace or temporary files: this helps only where those are in the clear.',
    ],
  },
  sealed_key_cache: {
    type: 'switch',
    default: false,
    isDynamic: false,
    wire: 1,
    wireName: 'sealed_key_ring',
    since: '0.1.0',
    sentence: 'Keep all data keys in one encrypted file too, which the next start opens with one call of KMS',
    explanation: [
      'Without it a start calls KMS for each key version. The file is aws-kms-sealed-key-cache, beside the key files. KMS, and so the master key, is needed as before; CloudTrail shows one Decrypt for each start.',
    ],
  },
  kept_contexts: {
    type: 'switch',
    default: true,
    isDynamic: false,
    wire: undefined,
    since: '0.1.0',
    sentence:
      'Encrypt with OpenSSL contexts that are kept and used again. OFF: the server makes one for each encryption',
    explanation: [
      'Small encryptions, as those of the redo log, cost a fifth of the CPU time; the bytes are the same. Each start of the server compares them with those of its own functions, which encrypt if there is a difference, or no OpenSSL 3: Aws_key_management_encryption_contexts tells. Data passes freely between both values.',
    ],
  },
  log_level: {
    type: 'choice',
    default: 'Off',
    choices: LOG_LEVELS,
    isDynamic: true,
    wire: 1,
    since: '0.1.0',
    cpp: 'the lines go to standard output',
    sentence: 'How much of the AWS calls goes to the error log: Off, Fatal, Error, Warn, Info, Debug or Trace',
    explanation: ['Never a secret.'],
  },
  agent: {
    type: 'text',
    default: '',
    maxBytes: undefined,
    isDynamic: false,
    wire: undefined,
    since: '0.1.0',
    sentence:
      'Absolute path of the agent executable, or unix: and the absolute path of a socket it listens on. Empty: aws_key_management_agent beside the plugin library',
    explanation: [],
  },
  mock: {
    type: 'switch',
    default: false,
    isDynamic: false,
    wire: 1,
    since: '0.1.0',
    cpp: 'only in debug builds, and the key files then hold the data keys in the clear',
    isAgentOption: true,
    sentence: 'No AWS: wrap keys with key material kept locally. For trials only',
    explanation: ['It protects nothing.'],
  },
  rotate_key: {
    type: 'number',
    unit: 'a key id',
    default: 0,
    min: -1,
    max: 4_294_967_295,
    isDynamic: true,
    wire: undefined,
    since: '0.1.0',
    cpp: 'at most 2147483647; a rotation that fails is a warning, and -1 ends at the first failure',
    sentence: 'Set it to a key id to create the next version of that key, to -1 to do so for all keys. Reads back 0',
    explanation: ['At the start of the server it is ignored, with a warning.'],
    isCommand: true,
  },
} as const satisfies Readonly<Record<string, Setting>>;

type Table = typeof SETTINGS;
export type SettingName = keyof Table;
export type WireSetting = { [N in SettingName]: Table[N]['wire'] extends number ? N : never }[SettingName];
export type DynamicWireSetting = { [N in WireSetting]: Table[N]['isDynamic'] extends true ? N : never }[WireSetting];

export const SETTING_NAMES: readonly SettingName[] = Object.keys(SETTINGS).filter(isSetting);

export function isSetting(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name);
}

export function isWireSetting(name: string): name is WireSetting {
  return isSetting(name) && SETTINGS[name].wire !== undefined;
}

export function isDynamicWireSetting(name: string): name is DynamicWireSetting {
  return isWireSetting(name) && SETTINGS[name].isDynamic;
}

const WIRE_NAMES: ReadonlyMap<string, string> = new Map(
  SETTING_NAMES.map((name) => {
    const { wireName }: Setting = SETTINGS[name];
    return [name, wireName ?? name];
  }),
);
const BY_WIRE_NAME: ReadonlyMap<string, string> = new Map([...WIRE_NAMES].map(([name, wire]) => [wire, name]));

/** The name of a setting in frames; another name stays as it is. */
export function wireNameOf(name: string): string {
  return WIRE_NAMES.get(name) ?? name;
}

/** The setting that has this name in frames; another name stays as it is. */
export function nameOfWire(wire: string): string {
  return BY_WIRE_NAME.get(wire) ?? wire;
}

/** Returns the error of a variable that has a bad value. */
export function badOption(name: string, expected: string, got: string): KeyError {
  return new KeyError('BAD_OPTION', `aws_key_management_${name}: expected ${expected}, got "${got}"`);
}

/** The default as the server shows it and as HELLO contains it. */
export function defaultText(name: SettingName): string {
  const { default: value } = SETTINGS[name];
  if (typeof value === 'boolean') return value ? 'ON' : 'OFF';
  return String(value);
}

/** Returns a text such as `A or B` or `A, B, C`. */
export function describeChoices(choices: readonly string[]): string {
  return choices.join(choices.length === 2 ? ' or ' : ', ');
}
