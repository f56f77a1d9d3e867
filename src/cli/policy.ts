import { Command } from 'commander';
import { KeyError } from '../errors.ts';
import { minimalPolicy } from '../iam/policy.ts';
import { printableJson } from '../printable.ts';
import type { Configuration } from '../server/configuration.ts';
import { optionName } from '../server/plugin-options.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface PolicyOptions extends OptionFileOptions {
  readonly kind: string;
  readonly masterKeyArn?: string;
  readonly olderKeyArn: readonly string[];
  readonly principal?: string;
  readonly encryptionContext?: string;
  readonly failoverRegions?: readonly string[];
  readonly sourceIp: readonly string[];
  readonly sourceVpce: readonly string[];
  readonly requireMfa?: boolean;
  readonly withDescribe?: boolean;
  readonly keepUsed?: string;
  readonly configured?: boolean;
}

/**
 * `mariadb-aws-kms policy`. Standard output has the document alone, so that it can be piped.
 * @throws KeyError BAD_OPTION
 */
export function policyCommand(
  io: Pick<CliIo, 'stdout' | 'stderr'>,
  surroundings: () => Surroundings = systemSurroundings,
): Command {
  return withOptionFiles(new Command('policy'))
    .description('print the smallest IAM or key policy with which the server works')
    .option('--kind <kind>', 'iam: for a role or user; key: the policy of the master key itself', 'iam')
    .option('--master-key-arn <arn>', 'the master key; needed for an IAM policy')
    .option('--older-key-arn <arn>', 'a master key of before, to unwrap with (repeatable)', appendList, [])
    .option('--principal <arn>', 'role or user of the server; needed for a key policy')
    .option('--encryption-context <pairs>', 'only with this context, as aws_key_management_encryption_context has it')
    .option('--failover-regions <list>', 'replicas of a multi-Region master key to allow as well', splitList)
    .option('--configured', "take master key, context and failover Regions from the server's option files")
    .option('--source-ip <cidr>', 'only from there (repeatable, or separated by commas)', appendList, [])
    .option('--source-vpce <id>', 'only through this VPC endpoint (repeatable, or separated by commas)', appendList, [])
    .option('--require-mfa', 'only sessions that were made with a multi-factor code')
    .option('--with-describe', 'also what `doctor` would like to look at')
    .option('--keep-used <days>', 'key policy: nobody disables or deletes the key so soon after its last use')
    .action(async (options: PolicyOptions) => {
      const server = asksForServer(options) ? await serverConfiguration(options, surroundings()) : undefined;
      const { document, notes } = minimalPolicy({
        kind: options.kind,
        masterKeyArn: options.masterKeyArn ?? configuredArn(server, options.kind),
        olderKeyArns: options.olderKeyArn,
        principal: options.principal,
        encryptionContext: options.encryptionContext ?? server?.options.last(optionName('encryption_context')) ?? '',
        failoverRegions: options.failoverRegions ?? server?.failoverRegions.map(({ region }) => region) ?? [],
        sourceIps: options.sourceIp,
        sourceVpces: options.sourceVpce,
        requireMfa: options.requireMfa ?? false,
        withDescribe: options.withDescribe ?? false,
        keepUsed: options.keepUsed,
      });
      io.stdout(printableJson(document, 2), 'prepared');
      for (const note of notes) io.stderr(`mariadb-aws-kms: note: ${note}`);
    });
}

function asksForServer({ configured, defaultsFile, defaultsExtraFile, group }: PolicyOptions): boolean {
  return configured === true || defaultsFile !== undefined || defaultsExtraFile !== undefined || group.length > 0;
}

async function serverConfiguration(options: PolicyOptions, surroundings: Surroundings): Promise<Configuration> {
  const configuration = await readServer(options, { variables: {} }, surroundings);
  const problem = configuration.reports.find(({ status }) => status === 'failure');
  if (problem === undefined) return configuration;
  throw new KeyError('BAD_OPTION', problem.found, { hint: problem.fix });
}

function configuredArn(server: Configuration | undefined, kind: string): string | undefined {
  if (server === undefined || server.masterKeyId.startsWith('arn:')) return server?.masterKeyId;
  // A key policy belongs to its key and need not name it.
  if (kind === 'key' || server.masterKeyId === '') return undefined;
  throw new KeyError('BAD_OPTION', `the server's master key is ${server.masterKeyId}, and IAM takes no alias or id`, {
    hint: `add --master-key-arn with what this prints: aws kms describe-key --key-id ${server.masterKeyId} --query KeyMetadata.Arn --output text`,
  });
}

function splitList(text: string): readonly string[] {
  return text.split(',').map((part) => part.trim());
}

function appendList(text: string, before: readonly string[]): readonly string[] {
  return [...before, ...splitList(text)];
}
