import { defaultText, SETTING_NAMES, SETTINGS, type Setting, type SettingName } from './settings.ts';

const PREFIX = 'aws_key_management_';
const WIDTH = 124;

/** The option file of a server that was set up. */
export interface OptionFileChoice {
  /** Lines for its head, without `# `. */
  readonly head: readonly string[];
  /** Options to set. The others stay comments with a default or an example. */
  readonly values: Readonly<Partial<Record<SettingName, string>>>;
}

/** Returns the option file with every setting and its explanation: the template, or one with chosen values. */
export function optionFile(choice?: OptionFileChoice): string {
  const head = choice === undefined ? TEMPLATE_HEAD : choice.head;
  const options = SETTING_NAMES.filter((name) => !('isCommand' in SETTINGS[name])).map((name) =>
    optionLines(name, choice?.values[name]),
  );
  const blocks = [[...head, ...HEAD].map(comment), LOAD, ...options, TAIL];
  return blocks.map((lines) => `${lines.join('\n')}\n`).join('\n');
}

function optionLines(name: SettingName, value: string | undefined): readonly string[] {
  const { sentence, explanation, example, mustUnless, isDynamic }: Setting = SETTINGS[name];
  const must = mustUnless === undefined ? '' : `MUST${mustUnless === '' ? '' : `, ${mustUnless}`}. `;
  const [first = '', ...others] = explanation;
  const paragraphs = [`${must}${sentence}. ${first}${isDynamic ? ' Dynamic.' : ''}`, ...others];
  return [
    ...paragraphs.flatMap((text) => (text.startsWith('  ') ? [comment(text)] : wrapped(text.trim()))),
    value === undefined
      ? `#${PREFIX}${name} = ${example ?? defaultText(name)}`.trimEnd()
      : `${PREFIX}${name} = ${value}`.trimEnd(),
  ];
}

function wrapped(text: string): readonly string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(/ +/)) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function comment(text: string): string {
  return `# ${text}`;
}

const TEMPLATE_HEAD = [
  'MariaDB data-at-rest encryption with keys held by AWS KMS.',
  'Copy to /etc/mysql/mariadb.conf.d/ (Debian) or /etc/my.cnf.d/ (Red Hat) and set at least the two options marked MUST.',
  'The section is [mariadb]: [mysql] would break the client. Credentials in a file: see mariadb-aws-kms.conf beside this.',
];

const HEAD = [
  "Dynamic options: SET GLOBAL changes them while the server runs. The project's docs/reference.md says more.",
];

const LOAD = `[mariadb]
plugin_load_add = aws_key_management

# OFF, ON, FORCE or FORCE_PLUS_PERMANENT. FORCE: no start without the keys. FORCE_PLUS_PERMANENT: also no UNINSTALL.
# With ON a server whose plugin failed starts without keys, and encrypted tables look corrupted.
aws_key_management = FORCE_PLUS_PERMANENT`.split('\n');

const TAIL =
  `# Users with the FILE privilege write files as the server does, key files too, unless this names a directory that exists:
#   install -d -m 0750 -o mysql -g mysql /var/lib/mysql-files
#secure_file_priv = /var/lib/mysql-files

# What to encrypt is MariaDB's own business; these are off by default. Aria's log (aria_log.*) stays in the clear with all of
# them, and Aria tables that exist are encrypted by ALTER TABLE ... FORCE only.
#innodb_encrypt_tables           = ON
#innodb_encrypt_log              = ON
#innodb_encrypt_temporary_tables = ON
#innodb_encryption_threads       = 1
#aria_encrypt_tables             = ON
#encrypt_tmp_disk_tables         = ON
#encrypt_tmp_files               = ON
#encrypt_binlog                  = ON`.split('\n');
