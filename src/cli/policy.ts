import { Command } from 'commander';
import { minimalPolicy } from '../doctor/policy.ts';
import type { CliIo } from './process-io.ts';

interface PolicyOptions {
  readonly kind: string;
  readonly masterKeyArn?: string;
  readonly principal?: string;
  readonly encryptionContext: string;
  readonly failoverRegions: readonly string[];
  readonly sourceIp: readonly string[];
  readonly sourceVpce: readonly string[];
  readonly requireMfa?: boolean;
  readonly withDescribe?: boolean;
}

/** `mariadb-aws-kms policy`: the document alone on standard output, so that it can be piped. @throws KeyError BAD_OPTION */
export function policyCommand(io: Pick<CliIo, 'stdout' | 'stderr'>): Command {
  return new Command('policy')
    .description('print the smallest IAM or key policy with which the server works')
    .option('--kind <kind>', 'iam: for a role or user; key: the policy of the master key itself', 'iam')
    .option('--master-key-arn <arn>', 'the master key; needed for an IAM policy')
    .option('--principal <arn>', 'role or user of the server; needed for a key policy')
    .option(
      '--encryption-context <pairs>',
      'only with this context, as aws_key_management_encryption_context has it',
      '',
    )
    .option('--failover-regions <list>', 'replicas of a multi-Region master key to allow as well', splitList, [])
    .option('--source-ip <cidr>', 'only from there (repeatable, or separated by commas)', appendList, [])
    .option('--source-vpce <id>', 'only through this VPC endpoint (repeatable, or separated by commas)', appendList, [])
    .option('--require-mfa', 'only sessions that were made with a multi-factor code')
    .option('--with-describe', 'also what `doctor` would like to look at')
    .action((options: PolicyOptions) => {
      const { document, notes } = minimalPolicy({
        kind: options.kind,
        masterKeyArn: options.masterKeyArn,
        principal: options.principal,
        encryptionContext: options.encryptionContext,
        failoverRegions: options.failoverRegions,
        sourceIps: options.sourceIp,
        sourceVpces: options.sourceVpce,
        requireMfa: options.requireMfa ?? false,
        withDescribe: options.withDescribe ?? false,
      });
      io.stdout(JSON.stringify(document, null, 2));
      for (const note of notes) io.stderr(`mariadb-aws-kms: note: ${note}`);
    });
}

function splitList(text: string): readonly string[] {
  return text.split(',').map((part) => part.trim());
}

function appendList(text: string, before: readonly string[]): readonly string[] {
  return [...before, ...splitList(text)];
}
