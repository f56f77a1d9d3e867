import { LIBRARY, PREFIX } from './plugin-options.ts';
import type { ServerOptions } from './server-options.ts';

export interface PluginToLoad {
  /** The item as written: `NAME`, `LIBRARY` or `NAME=LIBRARY`. */
  readonly text: string;
  readonly isOurs: boolean;
}

export interface PluginsToLoad {
  readonly plugins: readonly PluginToLoad[];
  /** A later `plugin_load` that discards a `plugin_load_add` of our plugin. */
  readonly undoneBy: string | undefined;
}

/** Other encryption plugins of the server: only one can be active. */
const OTHERS = /\b(?:file_key_management|hashicorp_key_management|example_key_management|debug_key_management)\b/;
const STEM = LIBRARY.replace(/\.so$/, '');

/** The plugins in order: `plugin_load` starts a new list, `plugin_load_add` adds to it. */
export function pluginsToLoad(options: ServerOptions): PluginsToLoad {
  let plugins: readonly PluginToLoad[] = [];
  let undoneBy: string | undefined;
  for (const { name, value } of options.inOrder(['plugin_load', 'plugin_load_add'])) {
    const named = value
      .split(/[;:]/)
      .filter((text) => text !== '')
      .map((text) => ({ text, isOurs: isOurs(text) }));
    const hadOurs = plugins.some((plugin) => plugin.isOurs);
    plugins = name === 'plugin_load' ? named : [...plugins, ...named];
    if (plugins.some((plugin) => plugin.isOurs)) undoneBy = undefined;
    else if (hadOurs) undoneBy = value;
  }
  return { plugins, undoneBy };
}

/** Returns the name of another encryption plugin that the options load. */
export function otherEncryptionPlugin(options: ServerOptions): string | undefined {
  const { plugins } = pluginsToLoad(options);
  return OTHERS.exec(plugins.map(({ text }) => text).join(';'))?.[0];
}

function isOurs(text: string): boolean {
  const [name = '', library = name] = text.trim().split('=');
  const isLibrary = library.replace(/\.so$/, '') === STEM;
  return isLibrary && (library === name || name === PREFIX || name === LIBRARY);
}
