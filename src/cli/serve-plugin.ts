import { Socket } from 'node:net';
import { Session, type SessionParts } from '../agent/session.ts';
import type { FileSystem } from '../disk/file-system.ts';
import { promptFileSystem } from '../disk/prompt-file-system.ts';
import { KeyError } from '../errors.ts';
import type { Role } from '../format/messages.ts';
import type { Trouble } from '../keyring/master-keys.ts';
import type { Settings } from '../keyring/settings.ts';
import { createAwsKmsClient, type ServiceChain } from '../kms/aws/client.ts';
import { adoptLegacyVariables } from '../kms/aws/credentials/shared-files.ts';
import { trustedCertificates } from '../kms/aws/trusted-certificates.ts';
import type { KmsClients } from '../kms/client.ts';
import { printable } from '../printable.ts';
import { isSocket } from './inherited-socket.ts';
import { becomeServerUser, serverUserOf } from './server-user.ts';
import { processSecrets, systemClock, systemRandom } from './system.ts';
import { VERSION } from './version.ts';

/** The descriptor on which the plugin passes the agent its end of the socket pair. */
const PLUGIN_DESCRIPTOR = 3;
const IDLE_TIMEOUT_MS = 10_000;

export async function servePluginThatStartedUs(): Promise<void> {
  adoptLegacyVariables(process.env);
  const notices: Trouble[] = [];
  const notice = (text: string): void => void notices.push({ severity: 'note', text });
  const user = serverUserOf(process.env);
  if (user !== undefined) {
    const [{ adoptServiceVariables }, { systemSurroundings }] = await serviceParts();
    await adoptServiceVariables(process.env, user.uid, systemSurroundings(), notice);
    processSecrets.addEnvironment(process.env);
  }
  becomeServerUser(process);
  if (!isSocket(PLUGIN_DESCRIPTOR)) {
    throw new KeyError(
      'BAD_OPTION',
      'descriptor 3 is not a socket: only the aws_key_management plugin starts an agent so',
      {
        hint: 'to run an agent of its own: mariadb-aws-kms agent --listen /run/mariadb-aws-kms/agent.sock --keyfile-dir DIR',
      },
    );
  }
  const stream = new Socket({ fd: PLUGIN_DESCRIPTOR, readable: true, writable: true });
  // systemd sends SIGTERM to every process of a service that it stops; the plugin must not report that as a crash.
  process.once('SIGTERM', () => stream.destroy());
  await new Session(stream, {
    ...sessionParts((settings) => settings, promptFileSystem, IDLE_TIMEOUT_MS),
    connectKms: (settings, role) => connectForRole(settings, role, notice),
    notices,
  }).run();
  // Pending operations (a KMS call, a timer) are abandoned: the server has gone or has closed the connection.
  process.exit(0);
}

/** Only a mariadb-backup that root runs needs these modules. */
async function serviceParts() {
  return await Promise.all([import('./service-identity.ts'), import('./system-surroundings.ts')]);
}

async function connectForRole(settings: Settings, role: Role, notice: (text: string) => void): Promise<KmsClients> {
  if (role !== 'backup' || settings.mock || process.getuid?.() !== 0) return await connectKms(settings);
  const [{ connectAsService }, { systemSurroundings }] = await serviceParts();
  return await connectKms(settings, await connectAsService(process.env, settings, systemSurroundings(), notice));
}

/** @param found undefined: the environment says who calls KMS, and where */
async function connectKms(settings: Settings, found?: ServiceChain): Promise<KmsClients> {
  if (settings.mock) {
    // Mock mode imports an HTTP server, which a start with AWS need not load.
    const { createMockKmsClient } = await import('../dev-kms/mock.ts');
    return [createMockKmsClient(settings.keyfileDir, systemClock)];
  }
  const surroundings = {
    proxyEnvironment: process.env,
    trustedCertificates: found === undefined ? trustedCertificates(process.env) : found.trustedCertificates,
    clock: systemClock,
    secrets: processSecrets,
  };
  const place = found === undefined ? {} : { region: found.region, endpointUrl: found.endpointUrl };
  const first = await createAwsKmsClient({ ...settings, ...place }, surroundings, found?.credentials);
  const others = settings.failoverRegions
    .filter(({ region }) => region !== first.region)
    .map((region) => createAwsKmsClient({ ...settings, ...region }, surroundings, found?.credentials));
  return [first, ...(await Promise.all(others))];
}

/** @param fileSystem a synchronous one only for an agent of one server: a hanging disk stops the agent */
export function sessionParts(
  overrideSettings: SessionParts['overrideSettings'],
  fileSystem: FileSystem,
  idleTimeoutMs?: number,
): SessionParts {
  return {
    agentVersion: VERSION,
    clock: systemClock,
    random: systemRandom,
    fileSystem,
    connectKms: (settings) => connectKms(settings),
    overrideSettings,
    redact: (text) => printable(processSecrets.redact(text)),
    idleTimeoutMs,
  };
}
