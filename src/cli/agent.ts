import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { listenForPlugins } from '../agent/listen.ts';
import { Session, type SessionParts } from '../agent/session.ts';
import { KeyError } from '../errors.ts';
import { parseFailoverRegions, type Settings } from '../keyring/settings.ts';
import { nodeFileSystem } from '../keystore/directory.ts';
import { createAwsKmsClient } from '../kms/aws.ts';
import type { KmsClients } from '../kms/client.ts';
import { createMockKmsClient } from '../kms/mock.ts';
import { becomeServerUser } from './server-user.ts';
import { processSecrets, systemClock } from './system.ts';
import { trustedCertificates } from './trusted-certificates.ts';
import { VERSION } from './version.ts';

/** The descriptor on which a plugin that starts an agent passes its end of the socket pair. */
const PLUGIN_DESCRIPTOR = 3;
const IDLE_TIMEOUT_MS = 10_000;

interface AgentOptions {
  readonly listen?: string;
  readonly keyfileDir?: string;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly failoverRegions?: string;
  readonly mock?: boolean;
}

export function agentCommand(): Command {
  return new Command('agent')
    .description('serve data keys to the plugin: on descriptor 3 when the plugin starts it, or on a unix socket')
    .option('--listen <path>', 'unix socket to listen on, in a directory that only the server may enter')
    .option('--keyfile-dir <directory>', 'where the key files are; required with --listen')
    .option('--region <region>', 'with --listen: AWS Region, in the place of aws_key_management_region')
    .option('--endpoint-url <url>', 'with --listen: KMS endpoint, in the place of aws_key_management_endpoint_url')
    .option('--failover-regions <list>', 'with --listen: in the place of aws_key_management_failover_regions')
    .option('--mock', 'with --listen: no AWS; for trials, protects nothing')
    .action(async (options: AgentOptions) => {
      adoptLegacyVariables(process.env);
      if (options.listen === undefined) await servePluginThatStartedUs();
      else await serveSocket(options.listen, options);
    });
}

async function servePluginThatStartedUs(): Promise<void> {
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
  // systemd sends it to every process of a service that it stops; the plugin need not hear of that as a crash.
  process.once('SIGTERM', () => stream.destroy());
  await new Session(
    stream,
    sessionParts((settings) => settings, IDLE_TIMEOUT_MS),
  ).run();
  // Whatever is still under way (a KMS call, a timer) is of no use to anyone: the server has gone or wants no more.
  process.exit(0);
}

async function serveSocket(path: string, options: AgentOptions): Promise<void> {
  if (options.keyfileDir === undefined) {
    throw new KeyError('BAD_OPTION', '--listen needs --keyfile-dir', {
      hint: 'an agent of its own does not let a plugin choose where it writes: name the key directory',
    });
  }
  const keyfileDir = resolve(options.keyfileDir);
  // Nor does a plugin choose to whom the agent shows its AWS identity.
  const overrideSettings = (settings: Settings): Settings => ({
    ...settings,
    keyfileDir,
    region: options.region ?? '',
    endpointUrl: options.endpointUrl ?? '',
    failoverRegions: parseFailoverRegions(options.failoverRegions ?? ''),
    mock: options.mock ?? false,
  });
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  process.once('SIGINT', () => stop.abort());
  const report = (line: string): void => console.error(`mariadb-aws-kms: ${processSecrets.redact(line)}`);
  await listenForPlugins(resolve(path), sessionParts(overrideSettings), report, stop.signal);
}

async function connectKms(settings: Settings): Promise<KmsClients> {
  if (settings.mock) return [createMockKmsClient(settings.keyfileDir, systemClock)];
  const surroundings = {
    proxyEnvironment: process.env,
    trustedCertificates: trustedCertificates(process.env),
    secrets: processSecrets,
  };
  const first = await createAwsKmsClient(settings, surroundings);
  const others = settings.failoverRegions
    .filter(({ region }) => region !== first.region)
    .map((region) => createAwsKmsClient({ ...settings, ...region }, surroundings));
  return [first, ...(await Promise.all(others))];
}

function sessionParts(overrideSettings: SessionParts['overrideSettings'], idleTimeoutMs?: number): SessionParts {
  return {
    agentVersion: VERSION,
    clock: systemClock,
    random: Math.random,
    fileSystem: nodeFileSystem,
    connectKms,
    overrideSettings,
    redact: (text) => processSecrets.redact(text),
    idleTimeoutMs,
  };
}

/** The C++ SDK's name for the shared credentials file, which MariaDB's documentation tells users to set. */
function adoptLegacyVariables(environment: NodeJS.ProcessEnv): void {
  const legacy = environment['AWS_CREDENTIAL_PROFILES_FILE'];
  if (legacy !== undefined) environment['AWS_SHARED_CREDENTIALS_FILE'] ??= legacy;
}

function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}
