/** The system variables of docs/reference.md: the table of `src/format/settings.ts` in the layout of MariaDB's pages. */
import { defaultText, SETTING_NAMES, SETTINGS, type Setting, type SettingName } from '../../src/format/settings.ts';
import { choices, code, section } from './layout.ts';

const PREFIX = 'aws_key_management_';
const TYPES = { text: 'string', choice: 'enumeration', switch: 'boolean', number: 'numeric' } as const;

/** Returns an index, and a section for each variable. */
export function systemVariables(): string {
  const names = [...SETTING_NAMES].sort();
  const rows = names.map((name) => {
    const { type }: Setting = SETTINGS[name];
    return `| [\`${name}\`](#${PREFIX}${name}) | ${TYPES[type]} | ${shownDefault(name)} | ${dynamic(name)} |`;
  });
  return [
    ['| `aws_key_management_`… | data type | default | dynamic |', '|---|---|---|---|', ...rows].join('\n'),
    ...names.map(variable),
  ].join('\n\n');
}

function variable(name: SettingName): string {
  const setting: Setting = SETTINGS[name];
  const paragraphs = setting.explanation.map((text) =>
    text.startsWith('  ') ? `\`\`\`\n${text.trim()}\n\`\`\`` : text,
  );
  return section(`${PREFIX}${name}`, setting.sentence, paragraphs, [
    ['Command line', commandLine(name)],
    ['Scope', 'Global'],
    ['Dynamic', dynamic(name)],
    ['Data type', TYPES[setting.type]],
    ['Default', shownDefault(name)],
    ...limits(setting),
    ['Example', setting.example === undefined ? undefined : code(setting.example)],
    ['An agent that listens', setting.isAgentOption ? `has its own ${code(`--${dashed(name)}`)}` : undefined],
    ['Since', setting.since],
    ['C++ plugin', setting.cpp === undefined ? 'does not have it' : setting.cpp || 'the same'],
  ]);
}

function limits(setting: Setting): readonly (readonly [string, string | undefined])[] {
  switch (setting.type) {
    case 'text':
      return [['Length', setting.maxBytes === undefined ? undefined : `at most ${setting.maxBytes} bytes`]];
    case 'choice':
      return [['Values', choices(setting.choices)]];
    case 'switch':
      return [['Values', choices(['OFF', 'ON'])]];
    case 'number':
      return [['Range', `${code(setting.min)} to ${code(setting.max)} (${setting.unit})`]];
  }
}

function commandLine(name: SettingName): string {
  const { type, isCommand }: Setting = SETTINGS[name];
  const value = { text: '=value', choice: '=value', number: '=#', switch: '[={OFF|ON}]' }[type];
  return `${code(`--${dashed(PREFIX + name)}${value}`)}${isCommand ? ', ignored with a warning' : ''}`;
}

function dynamic(name: SettingName): string {
  return SETTINGS[name].isDynamic ? 'Yes' : 'No';
}

function shownDefault(name: SettingName): string {
  const text = defaultText(name);
  return text === '' ? 'empty' : code(text);
}

function dashed(name: string): string {
  return name.replaceAll('_', '-');
}
