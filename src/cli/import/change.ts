/** The change of the option files that moves a server to or from another key management. */
import type { Configuration } from '../../server/configuration.ts';

/** The part of a change that its source knows. */
export interface Change {
  /** The other plugin, whose lines go. */
  readonly plugin: string;
  /** Files and lines with keys or passphrases in clear. */
  readonly destroy: readonly string[];
}

export interface ChangeLines {
  readonly remove: readonly string[];
  readonly add: readonly string[];
  readonly destroy: readonly string[];
}

interface ChangedServer {
  readonly server: Configuration;
  readonly place: { readonly directory: string };
  readonly masterKeyId: string;
}

/** Returns the lines of option files to take out and to write. No secret is among them. */
export function changeLines({ server, place, masterKeyId }: ChangedServer, { plugin, destroy }: Change): ChangeLines {
  const { region, endpointUrl } = server;
  const context = Object.entries(server.context).map(([name, value]) => `${name}=${value}`);
  const directory = server.isKeyfileDirDatadir ? '' : place.directory;
  return {
    remove: linesOf(server, plugin),
    add: [
      'plugin_load_add = aws_key_management',
      `aws_key_management_master_key_id = ${masterKeyId}`,
      ...line('region', region),
      ...line('endpoint_url', endpointUrl),
      ...line('keyfile_dir', directory),
      ...line('encryption_context', context.join(',')),
    ],
    destroy,
  };
}

function line(name: string, value: string): readonly string[] {
  return value === '' ? [] : [`aws_key_management_${name} = ${value}`];
}

/** Returns the options about a plugin that the server's option files have, without a passphrase in them. */
export function linesOf({ options }: Configuration, plugin: string): readonly string[] {
  const loads = options
    .inOrder(['plugin_load', 'plugin_load_add'])
    .filter(({ value }) => value.includes(plugin))
    .map(({ name, value }) => `${name} = ${value}`);
  const settings = options
    .startingWith(`${plugin}_`)
    .map(({ name, value }) => `${name} = ${isSecret(name, value) ? '…' : value}`);
  return [...new Set([...loads, ...settings])];
}

function isSecret(name: string, value: string): boolean {
  if (/_token$/.test(name)) return true;
  return /_filekey$/.test(name) && !/^FILE:/.test(value);
}

export function describeChange({ remove, add, destroy }: ChangeLines): readonly string[] {
  const lines = (title: string, list: readonly string[]): readonly string[] =>
    list.length === 0 ? [] : [title, ...list.map((text) => `  ${text}`)];
  return [
    ...lines('Take out of the option files:', remove),
    ...lines('Write into the option file of the server, below [mariadb]:', add),
    'Then restart the server, once. No data is encrypted again.',
    ...lines('When it runs, destroy, with every copy and backup of them:', destroy),
  ];
}
