import { resolve } from 'node:path';
import { Command } from 'commander';
import { listenForPlugins } from '../agent/listen.ts';
import { nodeFileSystem } from '../disk/file-system.ts';
import { KeyError } from '../errors.ts';
import { inAgentTerms } from '../format/agent-terms.ts';
import { parseFailoverRegions } from '../format/failover-regions.ts';
import { SETTINGS } from '../format/settings.ts';
import type { Settings } from '../keyring/settings.ts';
import { keysNamedBy } from '../keystore/failures.ts';
import { adoptLegacyVariables } from '../kms/aws/credentials/shared-files.ts';
import { printable } from '../printable.ts';
import { servePluginThatStartedUs, sessionParts } from './serve-plugin.ts';
import { processSecrets } from './system.ts';

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
    .description('serve data keys to the plugin, on descriptor 3 if the plugin starts it, else on a unix socket')
    .option('--listen <path>', 'listen on this unix socket, in a directory that only the server may enter')
    .option('--keyfile-dir <directory>', 'with --listen, required: directory of the key files')
    .option(
      '--region <region>',
      'with --listen: Region of KMS (default: what the AWS configuration says, then us-east-1)',
    )
    .option('--endpoint-url <url>', "with --listen: URL of another KMS endpoint (default: the Region's public one)")
    .option(
      '--failover-regions <list>',
      'with --listen: Regions, separated by commas, that unwrap when the first cannot (default: none)',
    )
    .option('--mock', 'with --listen: use no AWS; for trials, protects nothing')
    .addHelpText(
      'after',
      '\nExample:\n  mariadb-aws-kms agent --listen /run/mariadb-aws-kms/agent.sock --keyfile-dir /var/lib/mariadb-aws-kms --region eu-central-1',
    )
    .action(async (options: AgentOptions) => {
      if (options.listen === undefined) await servePluginThatStartedUs();
      else await serveSocket(options.listen, options);
    });
}

async function serveSocket(path: string, options: AgentOptions): Promise<void> {
  adoptLegacyVariables(process.env);
  if (options.keyfileDir === undefined) {
    throw new KeyError('BAD_OPTION', '--listen needs --keyfile-dir', {
      hint: 'an agent of its own does not let a plugin choose where it writes: name the key directory',
    });
  }
  const keyfileDir = resolve(options.keyfileDir);
  // A plugin must not choose where the agent writes, or the endpoint that it authenticates to.
  const overrideSettings = (settings: Settings): Settings => ({
    ...settings,
    keyfileDir,
    region: options.region ?? SETTINGS.region.default,
    endpointUrl: options.endpointUrl ?? SETTINGS.endpoint_url.default,
    failoverRegions: parseFailoverRegions(options.failoverRegions ?? SETTINGS.failover_regions.default),
    mock: options.mock ?? SETTINGS.mock.default,
  });
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  process.once('SIGINT', () => stop.abort());
  const report = (line: string): void => console.error(printable(`mariadb-aws-kms: ${processSecrets.redact(line)}`));
  const usual = sessionParts(overrideSettings, nodeFileSystem);
  const parts = {
    ...usual,
    keysNamed: keysNamedBy('--keyfile-dir', 'agent'),
    redact: (text: string): string => usual.redact(inAgentTerms(text)),
  };
  await listenForPlugins(resolve(path), parts, report, stop.signal);
}
