/** docs/settings.md: the table of `src/format/settings.ts` for readers. */
import {
  defaultText,
  describeChoices,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  type SettingName,
} from '../src/format/settings.ts';

const PREFIX = 'aws_key_management_';

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
