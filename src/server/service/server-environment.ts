import { adoptLegacyVariables } from '../../kms/aws/credentials/shared-files.ts';
import type { Files, SystemPaths } from '../surroundings.ts';
import { findRunningServer, type RunningServer } from './running-server.ts';
import { findServiceUnit, type ServiceUnit } from './unit.ts';

/** How the server is started, and what its agent finds in its environment. */
export interface Service {
  /** Undefined: none is here, or the server that runs was not started by one. */
  readonly unit: ServiceUnit | undefined;
  readonly running: RunningServer | undefined;
  /** The variables that the plugin passes on to its agent. */
  readonly variables: ReadonlyMap<string, ServerVariable>;
  /** Those that the running server has and that are taken from its unit alone. */
  readonly withheld: readonly string[];
}

export interface ServerVariable {
  readonly value: string;
  /** `mariadb.service (/etc/systemd/system/mariadb.service.d/aws.conf)` */
  readonly from: string;
  /** Whose process has it, when no unit says it; undefined: a unit does. */
  readonly processUid?: number | undefined;
}

export const NO_SERVICE: Service = { unit: undefined, running: undefined, variables: new Map(), withheld: [] };

/** As in plugin/client/environment.c. */
const PASSED_ON = /^(?:AWS_\w+|(?:HTTPS?|NO|ALL)_PROXY|(?:https?|no|all)_proxy|SSL_CERT_FILE)$/;
/** Whom to send everything to, and whom to believe: no process tells us that. */
const WAY = /(?:_PROXY|_proxy)$|^(?:AWS_CA_BUNDLE|SSL_CERT_FILE)$/;

/** @param mayBeOfDistribution false: only a server that runs in `datadir` tells which service is meant */
export async function readService(
  files: Files,
  { proc, units }: SystemPaths,
  datadir: string,
  mayBeOfDistribution: boolean,
): Promise<Service> {
  const running = await findRunningServer(files, proc, datadir, (name) => findServiceUnit(files, units, [name]));
  const isOfDistribution = running === undefined && mayBeOfDistribution;
  const unit = isOfDistribution ? await findServiceUnit(files, units) : running?.unit;
  const variables = new Map<string, ServerVariable>();
  // What the next start gets counts before what this one got: systemd's own, or the manager's, is only seen there.
  for (const [name, value] of running?.environment ?? []) {
    if (!PASSED_ON.test(name) || WAY.test(name)) continue;
    variables.set(name, { value, from: `the running server (process ${running?.pid})`, processUid: running?.uid });
  }
  for (const [name, value] of unit?.environment ?? []) {
    if (PASSED_ON.test(name)) variables.set(name, { value, from: `${unit?.name} (${unit?.origins.get(name)})` });
  }
  const withheld = [...(running?.environment?.keys() ?? [])].filter(
    (name) => PASSED_ON.test(name) && WAY.test(name) && !variables.has(name),
  );
  return { unit, running, variables, withheld };
}

export interface Adoption {
  /** Set now. */
  readonly adopted: readonly string[];
  /** Of whoever runs this, in the place of all that the server has. */
  readonly kept: readonly string[];
}

/** What the plugin would pass on to an agent. */
export function passedOn(environment: NodeJS.ProcessEnv): Record<string, string> {
  const pairs = Object.entries(environment).flatMap(([name, value]) =>
    value && PASSED_ON.test(name) ? [[name, value] as const] : [],
  );
  return Object.fromEntries(pairs);
}

/**
 * Gives `environment` what the server's has, all of it or nothing: the credentials of one must not go to the endpoint, or
 * through the proxy, of another. Whoever sets a variable by hand means it.
 * @param isRootForRoot root's own programs would read them: then a process of another user tells nothing
 */
export function adoptEnvironment(
  environment: NodeJS.ProcessEnv,
  { variables }: Service,
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
  // As the agent does.
  adoptLegacyVariables(environment);
  return { adopted: offered.map(([name]) => name), kept: [] };
}
