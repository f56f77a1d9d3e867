import { execFile } from 'node:child_process';
import { readFile, realpath, stat, statfs } from 'node:fs/promises';
import { Command } from 'commander';
import { examine } from '../doctor/doctor.ts';
import { exitCode, findingsJson, formatFindings } from '../doctor/format.ts';
import type { DoctorRequest } from '../doctor/request.ts';
import { type CommandResult, type RunCommand, type Surroundings, SYSTEM_PATHS } from '../doctor/surroundings.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { nodeFileSystem } from '../keystore/directory.ts';
import { createKmsInspector } from '../kms/inspect.ts';
import type { CliIo } from './process-io.ts';
import { systemClock } from './system.ts';
import { trustedCertificates } from './trusted-certificates.ts';
import { VERSION } from './version.ts';

interface DoctorOptions {
  readonly defaultsFile?: string;
  readonly defaultsExtraFile?: string;
  /** False with --no-defaults. */
  readonly defaults: boolean;
  readonly group: readonly string[];
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
  readonly deep?: boolean;
  readonly json?: boolean;
}

const MAX_OUTPUT_BYTES = 4 * 2 ** 20;

/** `mariadb-aws-kms doctor`. @throws KeyError BAD_OPTION */
export function doctorCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return new Command('doctor')
    .description('look for everything that would keep the server from its keys, and say how to put it right')
    .option('--defaults-file <file>', 'read the options of the server from this file only')
    .option('--defaults-extra-file <file>', 'read this file after the default ones')
    .option('--no-defaults', 'read no option file')
    .option('--group <name>', 'read this group too (repeatable)', (name, before: string[]) => [...before, name], [])
    .option('--datadir <directory>', 'in the place of datadir')
    .option('--plugin-dir <directory>', 'in the place of plugin_dir')
    .option('--user <name>', 'whom the server runs as')
    .option('--master-key-id <id>', 'in the place of aws_key_management_master_key_id; likewise those that follow')
    .option('--key-spec <spec>')
    .option('--key-ids <list>')
    .option('--region <region>')
    .option('--endpoint-url <url>')
    .option('--keyfile-dir <directory>')
    .option('--encryption-context <pairs>')
    .option('--failover-regions <list>')
    .option('--agent <path>')
    .option('--request-timeout <ms>')
    .option('--start-timeout <seconds>')
    .option('--mock')
    .option('--sts-endpoint-url <url>', 'endpoint of STS, for VPC endpoints and trials', '')
    .option('--deep', 'unwrap every stored key version')
    .option('--json', 'print an array of { check, status, found, fix }')
    .action(async (options: DoctorOptions) => {
      const findings = await examine(requestOf(options), surroundings());
      if (options.json) io.stdout(findingsJson(findings));
      else for (const line of formatFindings(findings, io.hasColours)) io.stdout(line);
      io.exit(exitCode(findings));
    });
}

function requestOf(options: DoctorOptions): DoctorRequest {
  const { defaultsFile, defaultsExtraFile, defaults, group, deep, stsEndpointUrl } = options;
  const sources = [
    ...(defaultsFile === undefined ? [] : [`--defaults-file=${defaultsFile}`]),
    ...(defaultsExtraFile === undefined ? [] : [`--defaults-extra-file=${defaultsExtraFile}`]),
    ...(defaults ? [] : ['--no-defaults']),
  ];
  if (sources.length > 1) {
    throw new KeyError('BAD_OPTION', `${sources.join(' and ').replaceAll(/=\S+/g, '')}: only one of them at a time`);
  }
  if (!defaults && group.length > 0) {
    throw new KeyError('BAD_OPTION', '--group needs option files, and --no-defaults reads none');
  }
  return {
    defaults: sources[0],
    groups: group,
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
    stsEndpointUrl,
    deep: deep ?? false,
  };
}

function given(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function systemSurroundings(): Surroundings {
  return {
    release: VERSION,
    architecture: process.arch,
    clock: systemClock,
    random: Math.random,
    files: { keyDirectory: nodeFileSystem, stat, readFile, realpath, statfs },
    run: runCommand,
    paths: SYSTEM_PATHS,
    environment: process.env,
    uid: process.getuid?.() ?? 0,
    connectKms: (target) =>
      createKmsInspector({
        ...target,
        environment: process.env,
        trustedCertificates: trustedCertificates(process.env),
        wallMs: systemClock.wallMs,
      }),
  };
}

/** An ordinary user's PATH has no sbin, where mariadbd is. */
const runCommand: RunCommand = (program, commandArguments, signal) => {
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/libexec`, LC_ALL: 'C' };
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult | undefined>();
  execFile(program, [...commandArguments], { env, signal, maxBuffer: MAX_OUTPUT_BYTES }, (error, stdout, stderr) => {
    if (error === null) resolve({ code: 0, stdout, stderr });
    else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
    else if (systemErrorCode(error) === 'ENOENT') resolve(undefined);
    else if (signal.aborted) reject(error);
    else resolve({ code: -1, stdout, stderr: stderr || error.message });
  });
  return promise;
};
