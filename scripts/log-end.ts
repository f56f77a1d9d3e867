/**
 * Kills servers in the moment that leaves InnoDB's redo log without an end, and starts what they left: as it is, and with the one
 * byte that ends the log. Without any key plugin and without encryption, and then with ours and everything encrypted.
 *   npm run test:crash:log-end [-- --rounds N] [-- --write]      --write: into docs/reliability.md
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/cli/system.ts';
import { startDevKms } from '../src/kms/embedded/index.ts';
import { writeSection } from './lib/document-section.ts';
import { type Race, raceLogEnd } from './lib/log-end-race.ts';
import { withScratchDirectory } from './lib/scratch-directory.ts';
import {
  EVERYTHING_ENCRYPTED,
  installDatabase,
  installedServer,
  pluginOptions,
  type ServerOptions,
} from './lib/scratch-server.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, write: { type: 'boolean', default: false } },
});

function row(what: string, { stale, acknowledged, asItIs, again, endedLate, ended }: Race): string {
  const started = (failure: string | undefined): string => failure ?? `starts, ${acknowledged} rows read back`;
  const after = (failure: string | undefined): string => (asItIs === undefined ? '–' : started(failure));
  const asWas = `${started(asItIs)} | ${after(again)} | ${after(endedLate)}`;
  return `| ${what} | ${stale.miniTransactions} | ${asWas} | ${started(ended)} |`;
}

const rows: string[] = [];
let notEnded = 0;
const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
const variants: readonly (readonly [what: string, options: ServerOptions])[] = [
  ['no plugin, no encryption', { log_bin: 'binlog' }],
  ['this plugin, everything encrypted', pluginOptions(kms.url, EVERYTHING_ENCRYPTED)],
];
try {
  await withScratchDirectory('mak-log-end-', async (scratch) => {
    const template = join(scratch, 'template');
    await installDatabase(template);
    for (const [what, options] of variants) {
      for (let round = 0; round < Number(values.rounds); round += 1) {
        const race = await withScratchDirectory('mak-log-end-', (directory) =>
          raceLogEnd({ directory, template, options }),
        );
        if (race.ended !== undefined) notEnded += 1;
        rows.push(row(what, race));
        console.log(rows.at(-1));
      }
    }
  });
} finally {
  await kms.close();
}
const table = `${installedServer()}

| server | old mini-transactions after the end | started as it is | once more | with the one byte only then | a copy from before, with the one byte |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
console.log(table);
if (values.write)
  writeSection(
    join(import.meta.dirname, '../docs/reliability.md'),
    'made by npm run test:crash:log-end',
    `\n${table}\n`,
  );
if (notEnded > 0) process.exitCode = 1;
