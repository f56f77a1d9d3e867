import { failure, ok, type Report, skipped, warning } from '../../finding.ts';
import { CREDENTIALS_FILE } from '../../server/plugin-options.ts';
import type { Service } from '../../server/service/server-environment.ts';
import type { ServiceUnit } from '../../server/service/unit.ts';
import type { Check, Examination } from '../check.ts';

const SECRET = /^AWS_(?:SECRET_ACCESS_KEY|SESSION_TOKEN)$/;
const NOT_READ =
  'not read: variables that systemd gives every service (systemctl set-environment, DefaultEnvironment=) and PassEnvironment=';
const OTHERS_MAY_READ = 0o004;

/**
 * Finds the service that starts the server, and the environment that its agent gets: credentials may be there alone.
 */
export const service: Check = {
  id: 'service',
  isOptional: true,
  async run(examination) {
    const { service: server, keeper } = examination.configuration;
    const { unit, running, initScript } = server;
    const agents = keeper.isSeparate ? keeper.service.unit : undefined;
    if ((unit ?? running ?? agents ?? initScript) === undefined)
      return [skipped('systemd has no unit of the server here')];
    const reports = [
      ...(unit === undefined ? [] : await unitReports(examination, unit, 'server')),
      ...(agents === undefined ? [] : await unitReports(examination, agents, 'agent')),
      ...blindReports(examination),
      ...changedReports(examination),
      ...keptReports(examination),
      ...withheldReports(examination),
    ];
    const gap = unit === undefined ? [] : [skipped(NOT_READ)];
    if (reports.length > 0) return [...reports, ...gap];
    const found = agents === undefined ? describeServer(server) : describe(agents.name, keeper.service, 'agent');
    return [ok(found), ...gap];
  },
};

function describeServer(service: Service): string {
  const { unit, running, initScript } = service;
  return describe(unit?.name ?? initScript ?? `process ${running?.pid}, which no service started,`, service, 'server');
}

/** Names each source of variables with what it gives. */
function describe(who: string, { variables }: Service, needy: string): string {
  const given = Map.groupBy([...variables.keys()].sort(), (name) => variables.get(name)?.from ?? who);
  if (given.size === 0) return `${who} gives the ${needy} no variable of AWS`;
  return [...given].map(([from, names]) => `${from} gives the ${needy} ${names.join(', ')}`).join('; ');
}

/** Reports a running server whose agent has other variables than one would have that is started now. */
function changedReports({ configuration }: Examination): readonly Report[] {
  const { keeper, service } = configuration;
  const { running, unit, variables, initScript } = service;
  const environment = running?.environment;
  if (environment === undefined || keeper.isSeparate) return [];
  const changed = [...variables].filter(
    ([name, { value, processUid }]) => processUid === undefined && value !== (environment.get(name) ?? ''),
  );
  if (changed.length === 0) return [];
  const from = [...new Set(changed.map(([, variable]) => variable.from))].join(' and ');
  const found = `the running server (process ${running?.pid}) was started with other variables than ${from} gives now: ${changed.map(([name]) => name).join(', ')}`;
  const restart =
    unit === undefined ? `${initScript} restart` : `systemctl daemon-reload && systemctl restart ${unit.name}`;
  return [warning(found, restart)];
}

async function unitReports(
  { surroundings, configuration }: Examination,
  unit: ServiceUnit,
  needy: 'server' | 'agent',
): Promise<readonly Report[]> {
  const reports: Report[] = [];
  for (const { path, reason, isAbsent } of unit.unreadable) {
    if (isAbsent) {
      const fix = `put the file there, or write EnvironmentFile=-${path} if it may be absent`;
      reports.push(failure(`${unit.name} names ${path}, which is not there: systemd does not start the ${needy}`, fix));
    } else {
      const found = `${path} of ${unit.name} cannot be read (${reason}): what it gives the ${needy} is unknown`;
      reports.push(warning(found, 'run this as root'));
    }
  }
  const secrets = [...unit.environment.keys()].filter((name) => SECRET.test(name));
  for (const path of new Set(secrets.map((name) => unit.origins.get(name) ?? ''))) {
    const isUnit = unit.files.includes(path);
    const mode = await surroundings.files.stat(path).then(
      (facts) => facts.mode,
      () => 0,
    );
    if (!isUnit && (mode & OTHERS_MAY_READ) === 0) continue;
    const found = isUnit
      ? `${path} holds a secret of AWS: systemctl shows it to every user`
      : `${path} holds a secret of AWS, and every user may read it`;
    const owner = needy === 'agent' ? configuration.keeper.account : configuration.account;
    const place = `${CREDENTIALS_FILE} (mode 0600, owner ${owner.name})`;
    const fix = isUnit ? `move it to ${place}, and set AWS_SHARED_CREDENTIALS_FILE in its place` : `chmod 0600 ${path}`;
    reports.push(warning(found, fix));
  }
  return reports;
}

function blindReports({ configuration }: Examination): readonly Report[] {
  const { unit, running } = configuration.service;
  if (unit !== undefined || running === undefined || running.environment !== undefined) return [];
  const found = `the environment of the running server (process ${running.pid}) may not be read: credentials in it are unknown here`;
  return [warning(found, 'run this as root')];
}

/** Reports AWS variables set by hand: with them the examination uses another identity than the server's. */
function keptReports({ configuration, adoption }: Examination): readonly Report[] {
  const { kept } = adoption;
  if (kept.length === 0) return [];
  const from = configuration.keeper.service.variables.values().next().value?.from ?? 'the server';
  const found = `whoever runs this has other AWS variables than ${from}, and theirs count here, nothing of the server's: ${kept.join(', ')}`;
  const all = kept.filter((name) => !SECRET.test(name));
  return [
    warning(
      found,
      `env ${[...all, ...kept.filter((name) => SECRET.test(name))].map((name) => `-u ${name}`).join(' ')} mariadb-aws-kms doctor`,
    ),
  ];
}

/** Reports variables of proxies and trusted certificates, which are not taken from the environment of a process. */
function withheldReports({ configuration }: Examination): readonly Report[] {
  const { running, unit, withheld } = configuration.service;
  if (withheld.length === 0) return [];
  const found = `the running server (process ${running?.pid}) has ${withheld.join(', ')}, which ${withheld.length === 1 ? 'is' : 'are'} not taken from a process`;
  const lines = withheld.map((name) => `Environment=${name}=…`).join(' and ');
  const fix =
    unit === undefined
      ? `set them, and all other AWS variables of the server, for this command: env ${withheld[0]}=… mariadb-aws-kms doctor`
      : `systemctl edit ${unit.name}: [Service], then ${lines}`;
  return [warning(found, fix)];
}
