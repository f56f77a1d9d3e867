import { Command } from 'commander';
import { KeyError } from '../errors.ts';
import { minimalPolicy } from '../iam/policy.ts';
import { printableJson } from '../printable.ts';
import type { Configuration } from '../server/configuration.ts';
import { findKeyKeeper } from '../server/key-keeper.ts';
import { optionName } from '../server/plugin-options.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface PolicyOptions extends OptionFileOptions {
  readonly kind: string;
  readonly for: string;
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
    .description('print the smallest IAM or key policy that the server needs, or the operator who imports keys')
    .option('--kind <iam|key>', 'iam: policy for a role or user; key: policy of the master key itself', 'iam')
    .option(
      '--for <server|import>',
      'server: what a server needs; import: what the operator needs who runs `import`, for as long as that takes',
      'server',
    )
    .option('--master-key-arn <arn>', 'ARN of the master key; required for an IAM policy')
    .option('--older-key-arn <arn>', 'ARN of an earlier master key that may still decrypt (repeatable)', appendList, [])
    .option('--principal <arn>', 'ARN of the role or user of the server; required for a key policy')
    .option('--encryption-context <pairs>', 'allow this context only, as in aws_key_management_encryption_context')
    .option(
      '--failover-regions <list>',
      'allow the replicas of a multi-Region master key in these Regions as well',
      splitList,
    )
    .option('--configured', "take master key, context and failover Regions from the server's option files")
    .option(
      '--source-ip <cidr>',
      'allow requests from these addresses only (repeatable, or separated by commas)',
      appendList,
      [],
    )
    .option('--source-vpce <id>', 'allow this VPC endpoint only (repeatable, or separated by commas)', appendList, [])
    .option('--require-mfa', 'allow only sessions that were created with a multi-factor code')
    .option('--with-describe', 'also allow the optional requests of `doctor`')
    .option(
      '--keep-used <days>',
      'in a key policy: forbid disabling or deleting the key for this long after its last use',
    )
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms policy --configured > policy.json')
    .action(async (options: PolicyOptions) => {
      const server = asksForServer(options) ? await serverConfiguration(options, surroundings()) : undefined;
      const { document, notes } = minimalPolicy({
        kind: options.kind,
        holder: options.for,
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
  // A separate agent has a Region and failover Regions of its own.
  if (problem === undefined) return await findKeyKeeper(configuration, surroundings);
  throw new KeyError('BAD_OPTION', problem.found, { hint: problem.fix });
}

function configuredArn(server: Configuration | undefined, kind: string): string | undefined {
  if (server === undefined || server.masterKeyId.startsWith('arn:')) return server?.masterKeyId;
  // A key policy belongs to its key and need not name it.
  if (kind === 'key' || server.masterKeyId === '') return undefined;
  throw new KeyError('BAD_OPTION', `the server's master key is ${server.masterKeyId}, and IAM takes no alias or id`, {
    hint: `add --master-key-arn with what this prints: aws kms describe-key ${server.region === '' ? '' : `--region ${server.region} `}--key-id ${server.masterKeyId} --query KeyMetadata.Arn --output text`,
  });
}

function splitList(text: string): readonly string[] {
  return text.split(',').map((part) => part.trim());
}

function appendList(text: string, before: readonly string[]): readonly string[] {
  return [...before, ...splitList(text)];
}
