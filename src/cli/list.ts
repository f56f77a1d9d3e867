import { Command } from 'commander';
import { keyId, parseDecimal } from '../ids.ts';
import { readVersions, type VersionFacts } from '../operate/status/versions.ts';
import { printableJson } from '../printable.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { FAILED } from './exit-status.ts';
import { keyStores, VERSION_COLUMNS, versionJson, versionRow, withKeyPlace } from './key-versions.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import { printProblems } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';
import { tableLines } from './tables.ts';

interface ListOptions extends OptionFileOptions {
  readonly datadir?: string;
  readonly keyfileDir?: string;
  readonly keyId?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

const HELP = `
Exit status:
  0  every version was read
  1  a version is lost, missing or unreadable
  2  bad usage

Example:
  mariadb-aws-kms list --key-id 1`;

/** `mariadb-aws-kms list`. @throws KeyError BAD_OPTION, STORE_UNAVAILABLE */
export function listCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeyPlace(withOptionFiles(new Command('list')))
    .description('list the stored key versions; it needs no KMS and no running server')
    .option('--key-id <number>', 'list the versions of this key id only')
    .option('--quiet', 'print nothing but problems')
    .option('--json', 'print the result as JSON: { ok, directory, versions: [{ keyId, keyVersion, state, bits, … }] }')
    .addHelpText('after', HELP)
    .action(async (options: ListOptions) => {
      const outside = surroundings();
      const id = options.keyId === undefined ? undefined : keyId(parseDecimal(options.keyId) ?? 0);
      const variables = { keyfile_dir: options.keyfileDir };
      const server = await readServer(options, { datadir: options.datadir, variables }, outside);
      const { directory, store, retired } = await keyStores(server, options.keyfileDir, outside);
      const versions = await readVersions(store, retired, id);
      const isOk = !versions.some(isBroken);
      if (options.json)
        io.stdout(printableJson({ ok: isOk, directory, versions: versions.map(versionJson) }, 2), 'prepared');
      else {
        if (!options.quiet) {
          const lines = await tableLines(VERSION_COLUMNS, versions.map(versionRow), { width: io.columns });
          io.stdout(lines.length === 0 ? `${directory}: no key versions` : lines.join('\n'), 'prepared');
        }
        printProblems(io, versions.flatMap(({ problem }) => problem ?? []).map(withoutSecrets));
      }
      io.exit(isOk ? 0 : FAILED);
    });
}

/** True for a version that its data, if there is any, lacks. */
export function isBroken({ state }: VersionFacts): boolean {
  return state === 'lost' || state === 'missing' || state === 'unreadable';
}
