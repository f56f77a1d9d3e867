import { join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import type { Files } from '../surroundings.ts';
import { parseAssignments, parseEnvironmentFile, parseUnit, splitWords, type UnitLine } from './unit-text.ts';

/** The service that starts the server, from systemd's files: the fragment, then its drop-ins. */
export interface ServiceUnit {
  readonly name: string;
  /** Paths of the fragment and drop-ins that were read. */
  readonly files: readonly string[];
  /** The result of Environment=, EnvironmentFile= and UnsetEnvironment=. */
  readonly environment: ReadonlyMap<string, string>;
  /** The file that sets each variable. */
  readonly origins: ReadonlyMap<string, string>;
  /**
   * Files that could not be read, with the system's reason. A missing environment file is allowed if its path has the
   * prefix `-`.
   */
  readonly unreadable: readonly { readonly path: string; readonly reason: string; readonly isAbsent: boolean }[];
  /** The value of a single-valued setting of [Service]; undefined: not set. */
  last(name: string): string | undefined;
  /** The values of a list setting of [Service]; an empty value clears the list. */
  list(name: string): readonly string[];
}

/** The distributions' unit names in order of preference; the last is an alias of the first on Debian. */
const NAMES = ['mariadb.service', 'mysqld.service', 'mysql.service'];

/**
 * @param searchPath the directories of systemd.unit(5), the most important one first
 * @param names of the service, or of a running server's service if known
 */
export async function findServiceUnit(
  files: Files,
  searchPath: readonly string[],
  names: readonly string[] = NAMES,
): Promise<ServiceUnit | undefined> {
  for (const name of names) {
    for (const candidate of [name, ...templateOf(name)]) {
      const fragment = await firstThere(files, searchPath, candidate);
      if (fragment !== undefined) return await readUnit(files, searchPath, name, fragment);
    }
  }
  return undefined;
}

async function readUnit(
  files: Files,
  searchPath: readonly string[],
  name: string,
  fragment: string,
): Promise<ServiceUnit> {
  const real = await files.realpath(fragment);
  const unreadable: { path: string; reason: string; isAbsent: boolean }[] = [];
  const read: string[] = [];
  const lines: { readonly line: UnitLine; readonly path: string }[] = [];
  const note = (path: string, error: unknown): void => {
    const reason = systemErrorCode(error) ?? 'unknown error';
    unreadable.push({ path, reason, isAbsent: reason === 'ENOENT' });
  };
  // A masked unit: systemd starts nothing, so it is unknown how the server is started.
  const paths =
    real === '/dev/null' ? [] : [fragment, ...(await dropIns(files, searchPath, [name, baseOf(real)], note))];
  for (const path of paths) {
    try {
      lines.push(...parseUnit(await textOf(files, path)).map((line) => ({ line, path })));
      read.push(path);
    } catch (error) {
      note(path, error);
    }
  }
  const settings = lines.filter(({ line }) => line.section === 'Service');
  const valuesOf = (wanted: string): readonly { readonly value: string; readonly path: string }[] => {
    let values: { value: string; path: string }[] = [];
    for (const { line, path } of settings) {
      if (line.name !== wanted) continue;
      values = line.value === '' ? [] : [...values, { value: expanded(line.value, name), path }];
    }
    return values;
  };
  const environment = new Map<string, string>();
  const origins = new Map<string, string>();
  const set = (pairs: readonly (readonly [string, string])[], path: string): void => {
    for (const [variable, value] of pairs) {
      environment.set(variable, value);
      origins.set(variable, path);
    }
  };
  for (const { value, path } of valuesOf('Environment')) set(parseAssignments(value), path);
  for (const { value } of valuesOf('EnvironmentFile')) {
    const isOptional = value.startsWith('-');
    const path = isOptional ? value.slice(1) : value;
    try {
      set(parseEnvironmentFile(await textOf(files, path)), path);
    } catch (error) {
      if (!isOptional || systemErrorCode(error) !== 'ENOENT') note(path, error);
    }
  }
  for (const { value } of valuesOf('UnsetEnvironment')) {
    for (const word of splitWords(value)) {
      const [variable = '', ...rest] = word.split('=');
      if (rest.length === 0 || environment.get(variable) === rest.join('=')) environment.delete(variable);
    }
  }
  return {
    name,
    files: read,
    environment,
    origins,
    unreadable,
    last: (wanted) => settings.findLast(({ line }) => line.name === wanted && line.value !== '')?.line.value,
    list: (wanted) => valuesOf(wanted).flatMap(({ value }) => splitWords(value)),
  };
}

/** Drop-ins sorted by file name across directories. A name in a more important directory replaces the others. */
async function dropIns(
  files: Files,
  searchPath: readonly string[],
  names: readonly string[],
  note: (path: string, error: unknown) => void,
): Promise<readonly string[]> {
  const folders = [...new Set(['service', ...names.flatMap((name) => [...templateOf(name), name])])];
  const found = new Map<string, string>();
  // Drop-ins of the unit type come first: those of the unit itself are more important.
  for (const folder of folders.toReversed()) {
    for (const directory of searchPath) {
      const inside = join(directory, `${folder}.d`);
      const entries = await files.keyDirectory.readdir(inside).catch((error: unknown) => {
        if (!/^(?:ENOENT|ENOTDIR)$/.test(systemErrorCode(error) ?? '')) note(inside, error);
        return [];
      });
      for (const entry of entries) {
        if (entry.endsWith('.conf') && !found.has(entry)) found.set(entry, join(inside, entry));
      }
    }
  }
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  const real = await Promise.all(sorted.map((path) => files.realpath(path).catch(() => path)));
  return sorted.filter((_, index) => real[index] !== '/dev/null');
}

async function firstThere(files: Files, searchPath: readonly string[], name: string): Promise<string | undefined> {
  for (const directory of searchPath) {
    const path = join(directory, name);
    const isThere = await files.stat(path).then(
      () => true,
      (error: unknown) => {
        if (/^(?:ENOENT|ENOTDIR)$/.test(systemErrorCode(error) ?? '')) return false;
        throw error;
      },
    );
    if (isThere) return path;
  }
  return undefined;
}

function templateOf(name: string): readonly string[] {
  return name.includes('@') ? [name.replace(/@[^.]*\./, '@.')] : [];
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Expands the specifiers that a server's unit uses; others stay as they are. */
function expanded(text: string, name: string): string {
  const instance = /@([^.]*)\./.exec(name)?.[1] ?? '';
  return text.replace(/%([%iInNpP])/g, (_, letter: string) => {
    if (letter === '%') return '%';
    if (letter === 'n') return name;
    if (letter === 'N') return name.replace(/\.service$/, '');
    if (letter === 'p' || letter === 'P') return name.replace(/[@.].*$/, '');
    return instance;
  });
}

async function textOf(files: Files, path: string): Promise<string> {
  return (await files.readFile(path)).toString('utf8');
}
