import { Command } from 'commander';
import { auditData } from '../audit/audit.ts';
import { auditJson } from '../audit/json.ts';
import { needsOf } from '../audit/needs.ts';
import { auditText } from '../audit/text.ts';
import { dataLocations } from '../server/data-locations.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { FAILED } from './exit-status.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { readServer } from './read-server.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface AuditOptions extends OptionFileOptions {
  readonly datadir?: string;
  readonly requireEncrypted?: boolean;
  readonly json?: boolean;
}

/** `mariadb-aws-kms audit`. @throws KeyError BAD_OPTION */
export function auditCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withOptionFiles(new Command('audit'))
    .description('tell what is encrypted, under which key versions, and what still needs each; needs no key')
    .option('--datadir <directory>', 'override datadir: a data directory, a backup or a copy')
    .option('--require-encrypted', 'end with status 1 when a file is in clear, partly encrypted or could not be read')
    .option('--json', 'print the result as JSON: { audited, files, keyVersions, unseen }')
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms audit --datadir /backup/2030-01-01')
    .action(async (options: AuditOptions) => {
      const outside = surroundings();
      const server = await readServer(options, { datadir: options.datadir, variables: {} }, outside);
      const locations = dataLocations(server.datadir, (name) => server.options.last(name));
      const audit = await auditData(outside.files.data, locations, outside.clock, new AbortController().signal);
      const needs = needsOf(audit.files);
      if (options.json) io.stdout(auditJson(server.datadir, audit, needs), 'prepared');
      else for (const line of auditText(server.datadir, audit, needs)) io.stdout(line, 'prepared');
      const isShort =
        audit.unseen.length > 0 || audit.files.some(({ state }) => state === 'clear' || state === 'partly');
      io.exit(options.requireEncrypted === true && isShort ? FAILED : 0);
    });
}
