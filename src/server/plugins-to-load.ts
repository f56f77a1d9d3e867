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

function isOurs(text: string): boolean {
  const [name = '', library = name] = text.trim().split('=');
  const isLibrary = library.replace(/\.so$/, '') === STEM;
  return isLibrary && (library === name || name === PREFIX || name === LIBRARY);
}
