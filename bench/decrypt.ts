/** Measures `decrypt` beside what MariaDB has for the same: a rebuild of the tables by a server, and `mariadb-binlog`. */
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BUILD, COMMAND, type ScratchServer, TEST_CREDENTIALS } from '../harness/scratch-server.ts';
import { type CommandRun, measureCommand } from './measured-command.ts';
import { ratios, table, withSpread } from './statistics.ts';

/** A server with its KMS, and a directory for copies. */
export interface DecryptPlace {
  readonly server: ScratchServer;
  readonly kmsUrl: string;
  readonly directory: string;
}

/** Bytes of the rows of a log's events: one of them, or several until the event has 8 KiB. */
const LOGS = [
  { name: 'events of about 200 bytes', rowBytes: 150, eventBytes: 256 },
  { name: 'events of about 8 KiB', rowBytes: 1000, eventBytes: 8192 },
] as const;

/** Copies files and syncs each: what the disk gives. */
const COPY_EACH =
  'to=$1; shift; for each; do dd if="$each" of="$to/$(basename "$each")" bs=1M conv=fsync status=none || exit; done';

const perSecond = (bytes: number, ms: readonly number[]): string =>
  withSpread(
    ms.map((each) => bytes / 1e6 / each),
    2,
  );
const seconds = (ms: readonly number[]): string =>
  withSpread(
    ms.map((each) => each / 1000),
    2,
  );

async function decrypt({ server, kmsUrl }: DecryptPlace, kind: string, args: readonly string[]): Promise<CommandRun> {
  const keys = ['--no-defaults', '--keyfile-dir', server.datadir, '--region', 'us-east-1', '--endpoint-url', kmsUrl];
  return await measureCommand([COMMAND, 'decrypt', kind, ...keys, ...args], TEST_CREDENTIALS);
}

/** Decrypts some tables of the stopped server, then has the server do so; other tables in each round. */
export async function decryptTables(place: DecryptPlace, tables: number, rounds: number): Promise<string> {
  const { server, directory } = place;
  const [copied, plain, altered]: [number[], number[], number[]] = [[], [], []];
  let bytes = 0;
  for (let round = 0; round < rounds; round += 1) {
    const names = Array.from({ length: tables }, (_, table) => `t${round * tables + table}`);
    const files = names.map((name) => join(server.datadir, 'large', `${name}.ibd`));
    bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
    await measureCommand(['cat', ...files]);
    const copies = join(directory, 'copies');
    const intoCopies = async (times: number[], command: () => Promise<CommandRun>): Promise<void> => {
      mkdirSync(copies);
      times.push((await command()).ms);
      rmSync(copies, { recursive: true });
    };
    await intoCopies(copied, () => decrypt(place, 'tablespace', ['--to', copies, ...files]));
    await intoCopies(plain, () => measureCommand(['sh', '-c', COPY_EACH, 'sh', copies, ...files]));
    await server.start();
    try {
      const startMs = performance.now();
      for (const name of names) await server.sql(`ALTER TABLE large.${name} ENCRYPTED=NO`);
      altered.push(performance.now() - startMs);
    } finally {
      await server.stop();
    }
  }
  return table(
    [`${(bytes / 1e9).toFixed(1)} GB in ${tables} tablespaces`, 's', 'GB/s', 'times as fast'],
    [
      ['ALTER TABLE … ENCRYPTED=NO', seconds(altered), perSecond(bytes, altered), '1.00'],
      ['dd with fsync, of each file', seconds(plain), perSecond(bytes, plain), withSpread(ratios(altered, plain), 2)],
      ['decrypt tablespace', seconds(copied), perSecond(bytes, copied), withSpread(ratios(altered, copied), 2)],
    ],
  );
}

/** Reads encrypted logs beside `mariadb-binlog`, which reads the same log in clear. Neither writes anything. */
export async function decryptLogs(place: DecryptPlace, bytes: number, rounds: number): Promise<string> {
  const { server, directory } = place;
  const program = mariadbBinlog();
  const rows: string[][] = [];
  for (const [index, { name, rowBytes, eventBytes }] of LOGS.entries()) {
    const log = join(server.datadir, `log${index}.000001`);
    await makeLog(server, `log${index}`, { rows: Math.floor(bytes / rowBytes), rowBytes, eventBytes });
    const clear = join(directory, 'log-in-clear');
    await decrypt(place, 'binlog', ['--to', clear, log]);
    const [theirs, ours]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      theirs.push((await measureCommand([program, '--no-defaults', clear])).ms);
      ours.push((await decrypt(place, 'binlog', ['--stdout', log])).ms);
    }
    rows.push([
      `${(statSync(log).size / 1e9).toFixed(2)} GB, ${name}`,
      seconds(theirs),
      seconds(ours),
      withSpread(ratios(ours, theirs), 2),
    ]);
    rmSync(clear);
  }
  return table(['log', 'mariadb-binlog of the log in clear, s', 'decrypt binlog, s', 'ratio'], rows);
}

interface LogShape {
  readonly rows: number;
  readonly rowBytes: number;
  readonly eventBytes: number;
}

/** Starts the server for one encrypted binary log of row events. */
async function makeLog(server: ScratchServer, name: string, { rows, rowBytes, eventBytes }: LogShape): Promise<void> {
  const { options } = server;
  server.options = {
    ...options,
    server_id: 1,
    log_bin: name,
    encrypt_binlog: 'ON',
    binlog_format: 'ROW',
    binlog_row_event_max_size: eventBytes,
  };
  await server.start();
  try {
    await server.sql('CREATE OR REPLACE TABLE large.log (i INT, t VARBINARY(2000)) ENGINE=MyISAM');
    await server.sql(`INSERT INTO large.log SELECT seq, REPEAT('x', ${rowBytes}) FROM large.seq_1_to_${rows}`);
  } finally {
    await server.stop();
    server.options = options;
  }
}

/** MariaDB's program, installed or unpacked by scripts/setup.sh. @throws Error when it is neither */
function mariadbBinlog(): string {
  const found = ['/', join(BUILD, 'mariadb-test'), join(BUILD, 'bench-plugins')]
    .map((root) => join(root, 'usr/bin/mariadb-binlog'))
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error('no mariadb-binlog: scripts/setup.sh bench gets it');
  return found;
}
