import { resolve } from 'node:path';
import { Command } from 'commander';
import { NEED_CLASSES } from '../audit/needs.ts';
import { KeyError } from '../errors.ts';
import { printableJson } from '../printable.ts';
import type { SqlFlags } from '../server/sql-target.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { PlaceOptions } from './audit-places.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import { diskPart, masterKeyPart, type Part, partOf, serverPart, storedPart } from './key-state.ts';
import { parseKeyVersion, versionJson, withKeyPlace } from './key-versions.ts';
import { isBroken } from './list.ts';
import { withOptionFiles } from './option-files.ts';
import { problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { withServerConnection } from './server-connection.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface ShowOptions extends PlaceOptions, SqlFlags {
  readonly region?: string;
  readonly endpointUrl?: string;
  /** False with --no-audit and --no-kms. */
  readonly audit: boolean;
  readonly kms: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

const HELP = `
SQL privileges:
  PROCESS, for what the running server says

AWS actions:
  kms:DescribeKey, and kms:GetKeyLastUsage for the last use of the master key

Exit status:
  0  shown
  1  a version is lost, missing or unreadable
  2  bad usage
  3  INCOMPLETE: something could not be looked at

Example:
  mariadb-aws-kms show 1.2`;

/** `mariadb-aws-kms show`. @throws KeyError BAD_OPTION, KEY_UNKNOWN, STORE_UNAVAILABLE */
export function showCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withServerConnection(withKeyPlace(withOptionFiles(new Command('show'))))
    .description('show a key id or one of its versions: its files, its master key, and what is encrypted with it')
    .argument('<key>', 'a key id, or KEY-ID.VERSION')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option('--no-audit', 'do not read the data files')
    .option('--no-kms', 'do not ask KMS about the master key')
    .option('--quiet', 'print nothing but problems')
    .option('--json', 'print the result as JSON: { ok, complete, versions, server, disk, masterKeys, notLookedAt }')
    .addHelpText('after', HELP)
    .action(async (text: string, options: ShowOptions) => {
      const outside = surroundings();
      const { id, version } = parseKeyVersion(text);
      const { region, endpointUrl } = options;
      const keyfileDir = options.keyfileDir && resolve(options.keyfileDir);
      const variables = { keyfile_dir: keyfileDir, region, endpoint_url: endpointUrl };
      const server = await readServer(options, { datadir: options.datadir, variables }, outside);
      const stored = await storedPart(server, options.keyfileDir, outside, id);
      const versions = stored.versions.filter(({ name }) => version === undefined || name.version === version);
      if (versions.length === 0) {
        const what = version === undefined ? `key ${id}` : `key ${id} version ${version}`;
        throw new KeyError('KEY_UNKNOWN', `${what} is not in ${stored.directory}`, { hint: 'mariadb-aws-kms list' });
      }
      const isAsked = (found: number): boolean => version === undefined || found === version;
      const running = await partOf(() => serverPart(options, server, outside));
      const disk = options.audit ? await partOf(() => diskPart(options, outside, io)) : undefined;
      const arns = [...new Set(versions.flatMap(({ masterKeyArn }) => masterKeyArn ?? []))];
      const masters = await Promise.all(
        (options.kms && !server.isMock ? arns : []).map(async (arn) => ({
          arn,
          part: await partOf(() => masterKeyPart(arn, server, outside)),
        })),
      );
      const spaces =
        'value' in running ? running.value.spaces.filter((each) => each.keyId === id && isAsked(each.version)) : [];
      const needs =
        disk !== undefined && 'value' in disk
          ? disk.value.needs.filter((each) => each.id === id && isAsked(each.version))
          : [];
      const gaps = [
        ...reason('running server', running),
        ...(disk === undefined ? [] : reason('data files', disk)),
        ...(disk !== undefined && 'value' in disk && !disk.value.isComplete
          ? ['data files: not all could be read']
          : []),
        ...masters.flatMap(({ arn, part }) => reason(`master key ${arn}`, part)),
      ];
      const isOk = !versions.some(isBroken);
      if (options.json) {
        const told = {
          ok: isOk,
          complete: gaps.length === 0,
          directory: stored.directory,
          versions: versions.map(versionJson),
          server: 'value' in running ? { tablespaces: spaces } : { problem: problemsAsJson([running.problem])[0] },
          disk: disk && ('value' in disk ? { keyVersions: needs } : { problem: problemsAsJson([disk.problem])[0] }),
          masterKeys: masters.map(({ arn, part }) => ('value' in part ? part.value : { arn })),
          notLookedAt: gaps,
        };
        io.stdout(printableJson(told, 2), 'prepared');
      } else if (!options.quiet) print();
      for (const gap of options.json ? [] : gaps) io.stderr(`mariadb-aws-kms: not looked at: ${gap}`);
      io.exit(isOk ? (gaps.length === 0 ? 0 : INCOMPLETE) : FAILED);

      function print(): void {
        for (const each of versions) {
          const { name, state, bits, algorithm, created, masterKeyArn, context, requestId, problem } = each;
          io.stdout(`key ${name.id} version ${name.version}: ${state}`);
          const line = (label: string, value: string | undefined): void => {
            if (value !== undefined && value !== '') io.stdout(`  ${label.padEnd(LABEL)}${value}`);
          };
          line('length', bits === undefined ? undefined : `${bits} bits`);
          line('algorithm', algorithm);
          line('created', created);
          line('master key', masterKeyArn);
          const master = masters.find(({ arn }) => arn === masterKeyArn)?.part;
          if (master !== undefined && 'value' in master) {
            const { alias, state: keyState, lastUsed, lastOperation } = master.value;
            line('', [alias, keyState].filter(Boolean).join(', '));
            line('last use', lastUsed === undefined ? undefined : `${lastUsed} (${lastOperation})`);
          }
          const pairs = Object.entries(context ?? {}).map(([key, value]) => `${key}=${value}`);
          line('context', pairs.join(', '));
          line('request', requestId);
          line('problem', problem?.message);
          const here = spaces.find((space) => space.version === name.version);
          line('server', here && `${here.tablespaces} tablespaces have it as lowest version`);
          const need = needs.find((found) => found.version === name.version)?.needs;
          const uses = NEED_CLASSES.flatMap((kind) =>
            need?.[kind] === undefined ? [] : `${kind}: ${need[kind].files.length} files`,
          );
          if (disk !== undefined && 'value' in disk) line('on disk', uses.join(', ') || 'nothing found here');
        }
      }
    });
}

const LABEL = 'master key'.length + 2;

function reason(what: string, part: Part<unknown>): readonly string[] {
  return 'problem' in part ? [`${what}: ${part.problem.message}`] : [];
}
