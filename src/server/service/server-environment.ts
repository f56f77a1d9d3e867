import { systemErrorCode } from '../../errors.ts';
import { adoptLegacyVariables } from '../../kms/aws/credentials/shared-files.ts';
import type { Files, SystemPaths } from '../surroundings.ts';
import { variablesOfBlock } from './init-defaults.ts';
import { findRunningServer, type RunningServer } from './running-server.ts';
import { findServiceUnit, type ServiceUnit } from './unit.ts';

/** The service that starts the server, and the variables that its agent gets. */
export interface Service {
  /** Undefined: there is no unit, or the running server was not started by one. */
  readonly unit: ServiceUnit | undefined;
  readonly running: RunningServer | undefined;
  /** Variables that the plugin passes on to its agent. */
  readonly variables: ReadonlyMap<string, ServerVariable>;
  /** Variables of the running server that are accepted from its unit only. */
  readonly withheld: readonly string[];
  /** Debian's script, where it starts the server in place of a unit. */
  readonly initScript?: string;
}

export interface ServerVariable {
  readonly value: string;
  /** `mariadb.service (/etc/systemd/system/mariadb.service.d/aws.conf)` */
  readonly from: string;
  /** The user of the process that the variable was read from; undefined: it is from a unit. */
  readonly processUid?: number | undefined;
}

export const NO_SERVICE: Service = { unit: undefined, running: undefined, variables: new Map(), withheld: [] };

/** The same variables as in plugin/client/environment.c. */
export const PASSED_ON = /^(?:AWS_\w+|(?:HTTPS?|NO|ALL)_PROXY|(?:https?|no|all)_proxy|SSL_CERT_FILE)$/;
/** Proxies and trusted certificates: these are not accepted from a process. */
const WAY = /(?:_PROXY|_proxy)$|^(?:AWS_CA_BUNDLE|SSL_CERT_FILE)$/;

/** @param mayBeOfDistribution false: only a server that runs in `datadir` identifies the service */
export async function readService(
  files: Files,
  paths: SystemPaths,
  datadir: string,
  mayBeOfDistribution: boolean,
): Promise<Service> {
  const { proc, units } = paths;
  const running = await findRunningServer(files, proc, datadir, (name) => findServiceUnit(files, units, [name]));
  const isOfDistribution = running === undefined && mayBeOfDistribution;
  // Without systemd the unit starts nothing: Debian's script does, with what `init` wrote for it.
  const isByScript =
    running?.unit === undefined &&
    mayBeOfDistribution &&
    !(await isThere(files, paths.systemd)) &&
    (await isThere(files, paths.initScript));
  const unit = isOfDistribution && !isByScript ? await findServiceUnit(files, units) : running?.unit;
  const variables = new Map<string, ServerVariable>();
  // Variables of the unit override those of the running process. Variables from systemd itself or its manager are only
  // visible in the process.
  for (const [name, value] of running?.environment ?? []) {
    if (!PASSED_ON.test(name) || WAY.test(name)) continue;
    variables.set(name, { value, from: `the running server (process ${running?.pid})`, processUid: running?.uid });
  }
  for (const [name, variable] of unit === undefined ? [] : variablesOfUnit(unit)) variables.set(name, variable);
  for (const [name, value] of isByScript ? await initVariables(files, paths) : []) {
    if (PASSED_ON.test(name)) variables.set(name, { value, from: `${paths.initScript} (${paths.initDefaults})` });
  }
  const withheld = [...(running?.environment?.keys() ?? [])].filter(
    (name) => PASSED_ON.test(name) && WAY.test(name) && !variables.has(name),
  );
  return { unit, running, variables, withheld, ...(isByScript ? { initScript: paths.initScript } : {}) };
}

/** Returns the variables of AWS that a unit gives its process. */
export function variablesOfUnit(unit: ServiceUnit): ReadonlyMap<string, ServerVariable> {
  const passed = [...unit.environment].filter(([name]) => PASSED_ON.test(name));
  return new Map(passed.map(([name, value]) => [name, { value, from: `${unit.name} (${unit.origins.get(name)})` }]));
}

async function isThere(files: Files, path: string): Promise<boolean> {
  return await files.stat(path).then(
    () => true,
    () => false,
  );
}

async function initVariables(
  files: Files,
  { initDefaults }: SystemPaths,
): Promise<readonly (readonly [string, string])[]> {
  const text = await files.readFile(initDefaults).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  return variablesOfBlock(text.toString('utf8'));
}

export interface Adoption {
  /** Variables that have been set. */
  readonly adopted: readonly string[];
  /** Variables of the current user, kept instead of all of the server's. */
  readonly kept: readonly string[];
}

/** Selects the variables that the plugin would pass on to an agent. */
export function passedOn(environment: NodeJS.ProcessEnv): Record<string, string> {
  const pairs = Object.entries(environment).flatMap(([name, value]) =>
    value && PASSED_ON.test(name) ? [[name, value] as const] : [],
  );
  return Object.fromEntries(pairs);
}

/**
 * Adds the server's variables to `environment`, all of them or none: credentials of one must not go to the endpoint or
 * proxy of the other. A variable set by hand therefore keeps all of the server's out.
 * @param isRootForRoot root's own programs would read them: then variables from another user's process are ignored
 */
export function adoptEnvironment(
  environment: NodeJS.ProcessEnv,
  { variables }: Pick<Service, 'variables'>,
  isRootForRoot: boolean,
): Adoption {
  const own = Object.keys(passedOn(environment));
  const offered = [...variables].filter(([, { processUid }]) => !isRootForRoot || (processUid ?? 0) === 0);
  if (own.length > 0) {
    const isOther = offered.some(([name, { value }]) => environment[name] !== value);
    adoptLegacyVariables(environment);
    return { adopted: [], kept: isOther ? own : [] };
  }
  for (const [name, { value }] of offered) environment[name] = value;
  // The agent does the same.
  adoptLegacyVariables(environment);
  return { adopted: offered.map(([name]) => name), kept: [] };
}
