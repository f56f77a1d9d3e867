import { Command } from 'commander';
import { examine } from '../doctor/doctor.ts';
import { exitCode, findingsJson, formatFindings } from '../doctor/format.ts';
import type { Finding } from '../finding.ts';
import type { DoctorRequest } from '../server/request.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { defaultsOf, type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { processSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface DoctorOptions extends OptionFileOptions {
  readonly datadir?: string;
  readonly pluginDir?: string;
  readonly user?: string;
  readonly masterKeyId?: string;
  readonly keySpec?: string;
  readonly keyIds?: string;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly stsEndpointUrl: string;
  readonly keyfileDir?: string;
  readonly encryptionContext?: string;
  readonly failoverRegions?: string;
  readonly agent?: string;
  readonly requestTimeout?: string;
  readonly startTimeout?: string;
  readonly mock?: boolean;
  /** False with --no-unwrap. */
  readonly unwrap: boolean;
  readonly json?: boolean;
}

/** `mariadb-aws-kms doctor`. @throws KeyError BAD_OPTION */
export function doctorCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withOptionFiles(new Command('doctor'))
    .description('find everything that would keep the server from its keys, and print how to fix it')
    .option('--datadir <directory>', 'override datadir')
    .option('--plugin-dir <directory>', 'override plugin_dir')
    .option('--user <name>', 'system user that the server runs as')
    .option('--master-key-id <id>', 'override aws_key_management_master_key_id')
    .option('--key-spec <AES_128|AES_256>', 'override aws_key_management_key_spec')
    .option('--key-ids <list>', 'override aws_key_management_key_ids')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir')
    .option('--encryption-context <pairs>', 'override aws_key_management_encryption_context')
    .option('--failover-regions <list>', 'override aws_key_management_failover_regions')
    .option('--agent <path>', 'override aws_key_management_agent')
    .option('--request-timeout <ms>', 'override aws_key_management_request_timeout')
    .option('--start-timeout <seconds>', 'override aws_key_management_start_timeout')
    .option('--mock', 'override aws_key_management_mock: examine mock mode, without AWS')
    .option('--sts-endpoint-url <url>', 'URL of STS, for VPC endpoints and trials', '')
    .option('--no-unwrap', 'do not decrypt the stored key versions in KMS (one call each); finds less')
    .option('--json', 'print the findings as a JSON array of { check, status, found, fix }')
    .addHelpText(
      'after',
      `
Exit status:
  0  nothing found that stops the server
  1  a failure was found
  2  bad usage
  3  INCOMPLETE: no failure was found, but a separate agent's keys or identity could not be looked at`,
    )
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms doctor --user mysql')
    .action(async (options: DoctorOptions) => {
      const findings = (await examine(requestOf(options), surroundings())).map(withoutSecrets);
      if (options.json) io.stdout(findingsJson(findings), 'prepared');
      else for (const line of formatFindings(findings, io.hasColours, io.columns)) io.stdout(line, 'prepared');
      io.exit(exitCode(findings));
    });
}

function withoutSecrets(finding: Finding): Finding {
  const { found, fix } = finding;
  const redact = (text: string): string => processSecrets.redact(text);
  return { ...finding, found: redact(found), ...(fix === undefined ? {} : { fix: redact(fix) }) };
}

function requestOf(options: DoctorOptions): DoctorRequest {
  return {
    defaults: defaultsOf(options),
    groups: options.group,
    datadir: options.datadir,
    pluginDir: options.pluginDir,
    user: options.user,
    variables: given({
      master_key_id: options.masterKeyId,
      key_spec: options.keySpec,
      key_ids: options.keyIds,
      region: options.region,
      endpoint_url: options.endpointUrl,
      keyfile_dir: options.keyfileDir,
      encryption_context: options.encryptionContext,
      failover_regions: options.failoverRegions,
      agent: options.agent,
      request_timeout: options.requestTimeout,
      start_timeout: options.startTimeout,
      mock: options.mock ? 'ON' : undefined,
    }),
    stsEndpointUrl: options.stsEndpointUrl,
    deep: options.unwrap,
  };
}

function given(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
