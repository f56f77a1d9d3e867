/** docs/settings.md and packaging/aws_key_management.cnf: the table of `src/format/settings.ts` for readers. */
import {
  defaultText,
  describeChoices,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  type SettingName,
} from '../src/format/settings.ts';

const PREFIX = 'aws_key_management_';
const OPTION_FILE_WIDTH = 124;

/** The reference: one section for each variable. */
export function settingsDocument(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { isDynamic, isCommand, since }: Setting = SETTINGS[name];
    const change = isCommand ? 'is a command' : isDynamic ? 'yes' : 'no';
    return `| [\`${name}\`](#${PREFIX}${name}) | ${values(name)} | ${shownDefault(name)} | ${change} | ${since} |`;
  });
  const sections = SETTING_NAMES.map((name) => {
    const { sentence, explanation, example, wire }: Setting = SETTINGS[name];
    const paragraphs = explanation.map((text) => (text.startsWith('  ') ? `\`\`\`\n${text.trim()}\n\`\`\`` : text));
    return [
      `## ${PREFIX}${name}`,
      `${sentence}.`,
      ...paragraphs,
      ...(example === undefined ? [] : [`Example: \`${PREFIX}${name} = ${example}\``]),
      ...(wire !== undefined ? [] : ['It stays in the plugin: the agent does not get it.']),
    ].join('\n\n');
  });
  return `# The settings

Made from \`src/format/settings.ts\` by \`npm run docs\`; a test says when it is out of date. These are the system variables of the
plugin, each with \`${PREFIX}\` before its name. All of them are global. The option file
[packaging/aws_key_management.cnf](../packaging/aws_key_management.cnf) has them with the same explanations.

\`SET GLOBAL\` changes those that can be changed while the server runs. An agent that listens on a socket
([operation.md](operation.md#an-agent-of-its-own)) has \`keyfile_dir\`, \`region\`, \`endpoint_url\`, \`failover_regions\` and \`mock\` from its
own command line.

| name | values | default | changes while the server runs | since |
|---|---|---|---|---|
${rows.join('\n')}

${sections.join('\n\n')}
`;
}

function values(name: SettingName): string {
  const setting: Setting = SETTINGS[name];
  switch (setting.type) {
    case 'text':
      return setting.maxBytes === undefined ? 'text' : `text, at most ${setting.maxBytes} bytes`;
    case 'choice':
      return describeChoices(setting.choices.map((choice) => `\`${choice}\``));
    case 'switch':
      return '`OFF` or `ON`';
    case 'number':
      return `${setting.min} to ${setting.max}, ${setting.unit}`;
  }
}

function shownDefault(name: SettingName): string {
  const text = defaultText(name);
  return text === '' ? 'empty' : `\`${text}\``;
}

/** The commented option file. */
export function optionFile(): string {
  const options = SETTING_NAMES.filter((name) => !('isCommand' in SETTINGS[name])).map(optionLines);
  return `${OPTION_FILE_HEAD}\n${options.map((lines) => `${lines.join('\n')}\n`).join('\n')}\n${OPTION_FILE_TAIL}`;
}

function optionLines(name: SettingName): readonly string[] {
  const { sentence, explanation, example, mustUnless, isDynamic }: Setting = SETTINGS[name];
  const must = mustUnless === undefined ? '' : `MUST${mustUnless === '' ? '' : `, ${mustUnless}`}. `;
  const [first = '', ...others] = explanation;
  const paragraphs = [`${must}${sentence}. ${first}${isDynamic ? ' Dynamic.' : ''}`, ...others];
  return [
    ...paragraphs.flatMap((text) => (text.startsWith('  ') ? [`# ${text}`] : wrapped(text.trim()))),
    `#${PREFIX}${name} = ${example ?? defaultText(name)}`.trimEnd(),
  ];
}

function wrapped(text: string): readonly string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(/ +/)) {
    if (line.length + 1 + word.length > OPTION_FILE_WIDTH) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

const OPTION_FILE_HEAD = `# MariaDB data-at-rest encryption with keys held by AWS KMS.
# Copy to /etc/mysql/mariadb.conf.d/ (Debian) or /etc/my.cnf.d/ (Red Hat) and set at least the two options marked MUST.
# The section is [mariadb]: [mysql] would break the client. Credentials in a file: see mariadb-aws-kms.conf beside this.
# Dynamic options: SET GLOBAL changes them while the server runs. docs/settings.md has all of this as a page.

[mariadb]
plugin_load_add = aws_key_management

# OFF, ON, FORCE or FORCE_PLUS_PERMANENT. FORCE: no start without the keys. FORCE_PLUS_PERMANENT: also no UNINSTALL.
# With ON a server whose plugin failed starts without keys, and encrypted tables look corrupted.
aws_key_management = FORCE_PLUS_PERMANENT
`;

const OPTION_FILE_TAIL = `# Users with the FILE privilege write files as the server does, key files too, unless this names a directory that exists:
#   install -d -m 0750 -o mysql -g mysql /var/lib/mysql-files
#secure_file_priv = /var/lib/mysql-files

# What to encrypt is MariaDB's own business; these are off by default.
#innodb_encrypt_tables           = ON
#innodb_encrypt_log              = ON
#innodb_encrypt_temporary_tables = ON
#innodb_encryption_threads       = 4
#aria_encrypt_tables             = ON
#encrypt_tmp_disk_tables         = ON
#encrypt_tmp_files               = ON
#encrypt_binlog                  = ON
`;
