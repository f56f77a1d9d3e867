/**
 * Shows where InnoDB's redo log ends, for the examination of a server that did not start after a crash.
 * node campaigns/redo-log-end.ts DIRECTORY [--write]
 * DIRECTORY: a copy of the data directory, made before the server was started again. With --write, the log is ended
 * where it was last written to, if that is another place: one byte becomes 0.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { endRedoLog, readRedoLog } from '../harness/redo-log.ts';

const { values, positionals } = parseArgs({
  options: { write: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const [directory] = positionals;
if (directory === undefined) throw new Error('expected a directory with ib_logfile0');
const file = join(directory, 'ib_logfile0');
const { checkpoint, end, encrypted, stale } = readRedoLog(readFileSync(file));
console.log(`${file}: ${encrypted ? 'encrypted' : 'in clear'}; a start reads from LSN ${checkpoint} to ${end}`);
if (stale === undefined) console.log('nothing says that it ends elsewhere');
else {
  const { from, miniTransactions, behind, offset } = stale;
  console.log(
    `it was written up to LSN ${from}: the ${miniTransactions} mini-transactions after that are ${behind} bytes older`,
  );
  if (values.write) endRedoLog(file, stale);
  console.log(values.write ? `byte ${offset} is 0 now: it ends there` : `a 0 as byte ${offset} ends it there: --write`);
}
