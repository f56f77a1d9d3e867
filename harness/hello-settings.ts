import { defaultText, isWireSetting, SETTING_NAMES } from '../src/format/settings.ts';

/** The settings of a HELLO (docs/protocol.md) of a server that sets nothing but its master key, with `changes`. */
export function helloSettings(changes: Readonly<Record<string, string>> = {}): Map<string, string> {
  const defaults = SETTING_NAMES.filter(isWireSetting).map((name) => [name, defaultText(name)] as const);
  const own = { master_key_id: 'alias/mariadb-encryption', keyfile_dir: '/keys' };
  return new Map([...defaults, ...Object.entries({ ...own, ...changes })]);
}
