/** Finds the key versions of a server for `list`, `show`, `status` and `retire`, and words them. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { KeyError } from '../errors.ts';
import { RETIRED_DIRECTORY } from '../format/key-file-name.ts';
import { isKeyId, isKeyVersion, type KeyId, type KeyVersion, parseDecimal } from '../ids.ts';
import { openStore } from '../keystore/open-store.ts';
import type { KeyStore } from '../keystore/store.ts';
import type { VersionFacts } from '../operate/status/versions.ts';
import type { Configuration } from '../server/configuration.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { problemsAsJson } from './problems.ts';
import { namedKeyPlace } from './read-server.ts';
import type { TableColumn } from './tables.ts';

export interface KeyStores {
  readonly directory: string;
  readonly store: KeyStore;
  readonly retired: KeyStore;
}

/**
 * Opens the key directory of a server, and that of its retired versions.
 * @param named the value of `--keyfile-dir`
 * @throws KeyError BAD_OPTION where nothing tells where a separate agent has its keys
 */
export async function keyStores(
  server: Configuration,
  named: string | undefined,
  outside: Surroundings,
): Promise<KeyStores> {
  const place = await namedKeyPlace(server, named, outside);
  const disk = diskOf(outside);
  const { directory } = place;
  return {
    directory,
    store: openStore(directory, disk, place.named),
    retired: openStore(join(directory, RETIRED_DIRECTORY), disk, place.named),
  };
}

export function withKeyPlace(command: Command): Command {
  return command
    .option('--datadir <directory>', 'override datadir')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir');
}

/** Parses `ID` or `ID.VERSION`. @throws KeyError BAD_OPTION */
export function parseKeyVersion(text: string): { readonly id: KeyId; readonly version: KeyVersion | undefined } {
  const [first = '', second, ...more] = text.split('.');
  const id = parseDecimal(first);
  const version = second === undefined ? undefined : parseDecimal(second);
  const isGood = id !== undefined && isKeyId(id) && more.length === 0;
  if (isGood && second === undefined) return { id, version: undefined };
  if (isGood && version !== undefined && isKeyVersion(version)) return { id, version };
  throw new KeyError('BAD_OPTION', `expected a key id, or KEY-ID.VERSION such as 1.2, got "${text}"`, {
    hint: 'mariadb-aws-kms list prints all; a key id is 1 to 4294967295',
  });
}

export const VERSION_COLUMNS: readonly TableColumn[] = [
  { heading: 'KEY' },
  { heading: 'STATE' },
  { heading: 'BITS', isNumber: true },
  { heading: 'CIPHER' },
  { heading: 'CREATED' },
  { heading: 'MASTER KEY', shorten: 'middle' },
];

/** The date of `created` is enough in a table. */
const DATE = 'YYYY-MM-DD'.length;

export function versionRow({ name, state, bits, algorithm, masterKeyArn, created }: VersionFacts): readonly string[] {
  return [
    `${name.id}.${name.version}`,
    state,
    bits === undefined ? '-' : `${bits}`,
    algorithm?.replace('AES_', '') ?? '-',
    created?.slice(0, DATE) ?? '-',
    masterKeyArn ?? '-',
  ];
}

/** A version as member of the JSON output. What is not known is absent. */
export function versionJson({ name, state, problem, context, ...facts }: VersionFacts): Record<string, unknown> {
  return {
    keyId: name.id,
    keyVersion: name.version,
    state,
    ...facts,
    encryptionContext: context,
    problem: problem && problemsAsJson([problem])[0],
  };
}
