/** Settings of this project, which may be repeated in a message; other values may be secrets. */
const SHOWN =
  /^(?:aws_key_management\w*|plugin_load_add|AGENT_OPTIONS|(?:export |Environment=)?AWS_SHARED_CREDENTIALS_FILE)$/;
/** `Environment=NAME=value` sets NAME. */
const SETTING = /^((?:Environment=)?[^=]*?)\s*(?:=\s*(.*))?$/;

/** Describes by name the settings in which two texts of a configuration differ, or the first other line. */
export function difference(found: string, wanted: string): string {
  const [is, would] = [settingsOf(found), settingsOf(wanted)];
  const names = [...would.keys(), ...[...is.keys()].filter((name) => !would.has(name))];
  const differing = names.filter((name) => is.get(name) !== would.get(name));
  if (differing.length > 0) {
    return differing.map((name) => `${name} is ${shown(name, is)}, and would be ${shown(name, would)}`).join('; ');
  }
  const [before, after] = [found.split('\n'), wanted.split('\n')];
  const line = before.findIndex((text, index) => text !== after[index]);
  return `no setting, but line ${(line < 0 ? before.length : line) + 1}, a comment or the order`;
}

/** The names of settings that are in `found` and are not so in `wanted`. */
export function ownSettings(found: string, wanted: string): readonly string[] {
  const would = settingsOf(wanted);
  return [...settingsOf(found)].filter(([name, value]) => would.get(name) !== value).map(([name]) => name);
}

/** Values by name; those of a name that is set more than once are joined. */
function settingsOf(text: string): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (line === '' || /^[#;]/.test(line)) continue;
    const [, name = line, value = ''] = SETTING.exec(line) ?? [];
    const known = settings.get(name);
    settings.set(name, known === undefined ? value : `${known}, ${value}`);
  }
  return settings;
}

function shown(name: string, settings: ReadonlyMap<string, string>): string {
  const value = settings.get(name);
  if (value === undefined) return 'not there';
  if (value === '' && !SHOWN.test(name)) return 'there';
  return SHOWN.test(name) ? `"${value}"` : 'another value';
}
