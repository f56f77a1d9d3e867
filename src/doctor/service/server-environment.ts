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
}

export interface ServerVariable {
  readonly value: string;
  /** `mariadb.service (/etc/systemd/system/mariadb.service.d/aws.conf)` */
  readonly from: string;
}

/** As in plugin/environment.c. */
const PASSED_ON = /^(?:AWS_\w+|(?:HTTPS?|NO|ALL)_PROXY|(?:https?|no|all)_proxy|SSL_CERT_FILE)$/;
/** They decide together whose identity it is: never some of one environment and some of another. */
const IDENTITY =
  /^AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|PROFILE|SHARED_CREDENTIALS_FILE|CREDENTIAL_PROFILES_FILE|CONFIG_FILE|ROLE_ARN|WEB_IDENTITY_TOKEN_FILE|CONTAINER_\w+)$/;

/** @param mayBeOfDistribution false: only a server that runs in `datadir` tells which service is meant */
export async function readService(
  files: Files,
  { proc, units }: SystemPaths,
  datadir: string,
  mayBeOfDistribution: boolean,
): Promise<Service> {
  const running = await findRunningServer(files, proc, datadir);
  const unit =
    running === undefined
      ? mayBeOfDistribution
        ? await findServiceUnit(files, units)
        : undefined
      : running.unit === undefined
        ? undefined
        : await findServiceUnit(files, units, [running.unit]);
  const variables = new Map<string, ServerVariable>();
  // What the next start gets counts before what this one got: systemd's own, or the manager's, is only seen there.
  const sources: readonly (readonly [ReadonlyMap<string, string> | undefined, (name: string) => string])[] = [
    [running?.environment, () => `the running server (process ${running?.pid})`],
    [unit?.environment, (name) => `${unit?.name} (${unit?.origins.get(name)})`],
  ];
  for (const [environment, from] of sources) {
    for (const [name, value] of environment ?? []) {
      if (PASSED_ON.test(name)) variables.set(name, { value, from: from(name) });
    }
  }
  return { unit, running, variables };
}

export interface Adoption {
  /** Set now. */
  readonly adopted: readonly string[];
  /** Of whoever runs this, who has another value. */
  readonly kept: readonly string[];
}

/** Gives `environment` what the server's has and it has not: whoever sets a variable by hand means it. */
export function adoptEnvironment(environment: NodeJS.ProcessEnv, { variables }: Service): Adoption {
  const hasIdentity = Object.entries(environment).some(([name, value]) => IDENTITY.test(name) && value);
  const adopted: string[] = [];
  const kept: string[] = [];
  for (const [name, { value }] of variables) {
    const own = environment[name];
    if (own === value) continue;
    if (own || (hasIdentity && IDENTITY.test(name))) {
      kept.push(name);
      continue;
    }
    environment[name] = value;
    adopted.push(name);
  }
  return { adopted, kept };
}
