/** The AWS identity of the server's service, for the agent of a mariadb-backup that root runs. */
import type { KeyringSurroundings } from '../keyring/open-keyring.ts';
import type { ServiceChain } from '../kms/aws/client.ts';
import { adoptLegacyVariables, areSharedFilesThere } from '../kms/aws/credentials/shared-files.ts';
import { within } from '../kms/retry.ts';
import { findAccount } from '../server/account.ts';
import { passedOn, readService, type Service } from '../server/service/server-environment.ts';
import type { Account, KmsTarget, Surroundings } from '../server/surroundings.ts';
import { askServerIdentity, type ServerIdentity } from './server-identity.ts';

type Notice = (text: string) => void;
type Settings = Parameters<KeyringSurroundings['connectKms']>[0];

const READ_MS = 3_000;
const DEFAULT_CALL_MS = 5_000;
/** The user of the distributions' services, where neither process nor unit names another. */
const USER = 'mysql';
const NO_FILE = '/dev/null';

/** The service of the server and the user that it runs as. */
interface Found {
  readonly service: Service;
  readonly account: Account;
}

/**
 * Adds the variables of the server's service to the environment of an agent that root started and that is about to
 * become the user `uid`. An environment with any such variable of its own stays as it is: credentials of one must not
 * go to the endpoint or proxy of the other. Variables of a service that runs as another user are not taken.
 */
export async function adoptServiceVariables(
  environment: NodeJS.ProcessEnv,
  uid: number,
  surroundings: Surroundings,
  notice: Notice,
): Promise<void> {
  const found = await findService(environment, surroundings);
  if (found?.account.uid !== uid) return;
  for (const [name, { value }] of found.service.variables) environment[name] = value;
  adoptLegacyVariables(environment);
  tell(found.service, notice);
}

/**
 * Finds the identity of the server's service for an agent that stays root, because the backup is root's: its files are
 * read, and its programs run, by a process of the service's user.
 * @returns undefined where root has AWS settings of its own, or the service has none
 * @throws KeyError BAD_OPTION for unusable settings of the service
 */
export async function connectAsService(
  environment: NodeJS.ProcessEnv,
  { region, endpointUrl, requestTimeoutMs }: Settings,
  surroundings: Surroundings,
  notice: Notice,
): Promise<ServiceChain | undefined> {
  const found = await findService(environment, surroundings);
  if (found === undefined || found.account.uid === 0 || (await areSharedFilesThere(environment))) return undefined;
  const { service, account } = found;
  const variables = Object.fromEntries([...service.variables].map(([name, { value }]) => [name, value]));
  const target: KmsTarget = {
    region,
    endpointUrl,
    stsEndpointUrl: '',
    timeoutMs: requestTimeoutMs || DEFAULT_CALL_MS,
    sharedFiles: undefined,
    as: account,
  };
  const ask = async (): Promise<ServerIdentity> => await askServerIdentity(target, account, variables);
  let first: ServerIdentity | undefined = await ask();
  const { way } = first;
  tell(service, notice);
  const outside = Object.entries(variables).filter(([name]) => !name.startsWith('AWS_'));
  Object.assign(environment, Object.fromEntries(outside), {
    AWS_SHARED_CREDENTIALS_FILE: NO_FILE,
    AWS_CONFIG_FILE: NO_FILE,
    ...(way.usesFips ? { AWS_USE_FIPS_ENDPOINT: 'true' } : {}),
    ...(way.usesDualstack ? { AWS_USE_DUALSTACK_ENDPOINT: 'true' } : {}),
  });
  return {
    region: way.region,
    endpointUrl: way.endpointUrl,
    trustedCertificates: way.certificates === undefined ? undefined : [way.certificates],
    credentials: async () => {
      const asked = first ?? (await ask());
      first = undefined;
      try {
        const { accessKeyId, secretAccessKey, sessionToken, expiresMs } = await asked.identity();
        return {
          accessKeyId,
          secretAccessKey,
          ...(sessionToken === undefined ? {} : { sessionToken }),
          ...(expiresMs === undefined ? {} : { expiration: new Date(expiresMs) }),
        };
      } finally {
        asked.close();
      }
    },
  };
}

/**
 * Finds the service of the server that runs in the working directory, or else of the distribution. A mariadb-backup
 * works in the server's data directory while it backs up, and in the backup while it prepares.
 */
async function findService(environment: NodeJS.ProcessEnv, surroundings: Surroundings): Promise<Found | undefined> {
  if (Object.keys(passedOn(environment)).length > 0) return undefined;
  const { clock, files, paths } = surroundings;
  try {
    return await within(clock, READ_MS, async () => {
      const service = await readService(files, paths, process.cwd(), true);
      if (service.variables.size === 0) return undefined;
      const user = service.running?.uid ?? service.unit?.last('User') ?? USER;
      const account = await findAccount(user, surroundings);
      return account === undefined ? undefined : { service, account };
    });
  } catch {
    // The failure that follows names the missing credentials.
    return undefined;
  }
}

function tell({ variables }: Service, notice: Notice): void {
  const [from = ''] = new Set([...variables.values()].map((variable) => variable.from));
  notice(`${[...variables.keys()].join(', ')} as ${from} has it, because the environment of mariadb-backup has none`);
}
