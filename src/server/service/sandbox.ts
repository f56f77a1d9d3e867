import { sep } from 'node:path';
import { parseSwitch } from '../server-options.ts';
import type { ServiceUnit } from './unit.ts';

export type Access = 'none' | 'read' | 'write';

export interface Sandbox {
  /** The access that the unit leaves to a path, and the setting that limits it. */
  accessTo(path: string): { readonly access: Access; readonly because: string };
  /** The setting that blocks the service's network access. */
  readonly noNetwork: string | undefined;
  /** True with MemoryDenyWriteExecute: the agent then runs without its JIT compiler. */
  readonly deniesJit: boolean;
}

interface Rule {
  readonly path: string;
  readonly access: Access;
  readonly because: string;
}

const RANK: Readonly<Record<Access, number>> = { none: 0, read: 1, write: 2 };
/** Paths that ProtectSystem=strict leaves writable: systemd.exec(5). */
const NEVER_PROTECTED = ['/dev', '/proc', '/sys'];
const STATE_DIRECTORIES: readonly (readonly [string, string])[] = [
  ['StateDirectory', '/var/lib'],
  ['CacheDirectory', '/var/cache'],
  ['LogsDirectory', '/var/log'],
  ['RuntimeDirectory', '/run'],
];

/** Evaluates the settings of systemd.exec(5) that restrict a service's files and network. */
export function sandboxOf(unit: ServiceUnit): Sandbox {
  const rules = rulesOf(unit);
  return {
    accessTo: (path) => {
      const matching = rules.filter((rule) => isBelow(path, rule.path));
      const longest = Math.max(0, ...matching.map((rule) => rule.path.length));
      // The nearest mount decides; among several at one place, ReadWritePaths wins.
      const nearest = matching.filter((rule) => rule.path.length === longest);
      const [best] = nearest.toSorted((a, b) => RANK[b.access] - RANK[a.access]);
      return best ?? { access: 'write', because: '' };
    },
    noNetwork: networkObstacle(unit),
    deniesJit: isOn(unit, 'MemoryDenyWriteExecute'),
  };
}

function rulesOf(unit: ServiceUnit): readonly Rule[] {
  const rules: Rule[] = [];
  const add = (access: Access, because: string, ...paths: readonly string[]): void => {
    rules.push(...paths.map((path) => ({ path, access, because })));
  };
  const system = unit.last('ProtectSystem')?.toLowerCase() ?? 'no';
  if (system === 'strict') {
    add('read', 'ProtectSystem=strict', '/');
    add('write', '', ...NEVER_PROTECTED);
  } else if (system === 'full') {
    add('read', 'ProtectSystem=full', '/usr', '/boot', '/efi', '/etc');
  } else if (parseSwitch(system) === true) {
    add('read', `ProtectSystem=${system}`, '/usr', '/boot', '/efi');
  }
  const home = unit.last('ProtectHome')?.toLowerCase() ?? 'no';
  if (home === 'read-only') add('read', 'ProtectHome=read-only', '/home', '/root', '/run/user');
  else if (home === 'tmpfs' || parseSwitch(home) === true)
    add('none', `ProtectHome=${home}`, '/home', '/root', '/run/user');
  // The service has private directories under these names.
  if (isOn(unit, 'PrivateTmp')) add('none', 'PrivateTmp', '/tmp', '/var/tmp');
  for (const [name, root] of STATE_DIRECTORIES) {
    for (const directory of unit.list(name)) add('write', name, `${root}/${directory.split(':', 1)[0]}`);
  }
  const lists: readonly (readonly [string, Access])[] = [
    ['ReadWritePaths', 'write'],
    ['ReadOnlyPaths', 'read'],
    ['InaccessiblePaths', 'none'],
  ];
  for (const [name, access] of lists) {
    add(access, name, ...unit.list(name).map((path) => path.replace(/^[-+]+/, '').replace(/(?<=.)\/+$/, '')));
  }
  return rules;
}

function networkObstacle(unit: ServiceUnit): string | undefined {
  if (isOn(unit, 'PrivateNetwork')) return 'PrivateNetwork=yes';
  const families = unit.list('RestrictAddressFamilies');
  const isDenyList = families[0]?.startsWith('~') === true;
  const named = families.map((family) => family.replace('~', ''));
  const isInternet = (family: string): boolean => family === 'AF_INET' || family === 'AF_INET6';
  if (families.length > 0 && (isDenyList ? named.filter(isInternet).length === 2 : !named.some(isInternet)))
    return `RestrictAddressFamilies=${families.join(' ')}`;
  const denied = unit.list('IPAddressDeny');
  return denied.includes('any') && unit.list('IPAddressAllow').length === 0 ? 'IPAddressDeny=any' : undefined;
}

function isOn(unit: ServiceUnit, name: string): boolean {
  return parseSwitch(unit.last(name) ?? 'no') === true;
}

function isBelow(path: string, directory: string): boolean {
  return directory === sep || path === directory || path.startsWith(`${directory}${sep}`);
}
