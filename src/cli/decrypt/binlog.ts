import { Command } from 'commander';
import { type DecryptedLog, decryptLog, type LogOutput } from '../../decrypt/binlog.ts';
import { openLog } from '../../decrypt/log-file.ts';
import { createNewFile, type NewFile } from '../../disk/new-file.ts';
import { KeyError } from '../../errors.ts';
import { BINARY_LOG_MAGIC } from '../../format/binary-log-event.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import type { CliIo } from '../process-io.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { type ByteStreams, processStreams } from './byte-streams.ts';
import { decryptEach, type EachFileOptions, type FileResult } from './each-file.ts';
import { withKeySource } from './key-source.ts';
import { outputPaths } from './outputs.ts';

interface BinlogOptions extends EachFileOptions {
  readonly to?: string;
  readonly stdout?: boolean;
}

const STANDARD_INPUT = '-';
/** The server's lists beside its logs, which `binlog.*` names, too. */
const NO_LOG = /\.(?:index|state|idx)$/;

const HELP = `
Exit status:
  0  every event is in clear in the output
  1  a log was not copied, or has a damaged event, or is cut and not the last one
  2  bad usage
  3  the last log ends within an event, which is left out; everything before it is in clear`;
const EXAMPLES = `
Examples:
  mariadb-aws-kms decrypt binlog --to /restore/logs /backup/binlog.000007 /backup/binlog.000008
  mariadb-aws-kms decrypt binlog --stdout binlog.000007 binlog.000008 | mariadb-binlog - | mariadb`;

/** `mariadb-aws-kms decrypt binlog`. @throws KeyError BAD_OPTION, KEY_FILE_… */
export function decryptBinlogCommand(
  io: CliIo,
  surroundings: () => Surroundings = systemSurroundings,
  byteStreams: () => ByteStreams = processStreams,
): Command {
  return withKeySource(new Command('binlog'))
    .description('decrypt binary and relay logs; events stay at their positions')
    .argument('<file...>', 'the logs in their order; - is standard input')
    .option('--to <path>', 'new file for the only log, or directory for the copies')
    .option('--stdout', 'print the logs as one, for mariadb-binlog -')
    .option('--json', 'with --to, print the result as JSON: { ok, files, problems }')
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLES)
    .action(async (named: readonly string[], options: BinlogOptions) => {
      const outside = surroundings();
      const streams = byteStreams();
      const files = named.filter((file) => !NO_LOG.test(file));
      for (const file of named.filter((other) => !files.includes(other)))
        io.stderr(`mariadb-aws-kms: note: ${file}: it is a list of the server, and no log: it is skipped`);
      if (files.length === 0) throw new KeyError('BAD_OPTION', 'no log is named');
      const names = await outputNames(files, options, streams, outside);
      await decryptEach(io, options, outside, {
        files,
        toStdout: names === undefined,
        decrypt: async (file, index, keys, signal) => {
          const input = file === STANDARD_INPUT ? streams.input : openLog(outside.files.data, file);
          const path = names?.[index];
          let copy: NewFile | undefined;
          try {
            copy = path === undefined ? undefined : createNewFile(path, outside.random);
            const output = copy === undefined ? following(streams.output, index) : appendTo(copy);
            const log = await decryptLog(input, keys, output, signal);
            await copy?.complete();
            return resultOf(input.name, path, log, index === files.length - 1);
          } finally {
            input.close();
            copy?.close();
          }
        },
      });
    });
}

/** Returns the path of each copy. Undefined: the output is standard output. @throws KeyError BAD_OPTION */
async function outputNames(
  files: readonly string[],
  { to, stdout, json }: BinlogOptions,
  { showsOutput }: ByteStreams,
  outside: Surroundings,
): Promise<readonly string[] | undefined> {
  if (files.filter((file) => file === STANDARD_INPUT).length > 1)
    throw new KeyError('BAD_OPTION', 'standard input can be read only once');
  if ((to === undefined) === (stdout !== true))
    throw new KeyError('BAD_OPTION', 'say with either --to or --stdout what the output is');
  if (to === undefined) {
    if (json === true) throw new KeyError('BAD_OPTION', '--json: standard output is what --stdout prints the logs to');
    if (showsOutput) throw new KeyError('BAD_OPTION', '--stdout: a terminal cannot show a binary log');
    return undefined;
  }
  const paths = await outputPaths(files, to, outside);
  if (files.includes(STANDARD_INPUT) && paths[0] !== to)
    throw new KeyError('BAD_OPTION', `--to ${to}: a log from standard input needs the name of a file`);
  return paths;
}

function appendTo(copy: NewFile): LogOutput {
  let offset = 0;
  return async (bytes) => {
    copy.write(bytes, offset);
    offset += bytes.length;
  };
}

/** `mariadb-binlog -` reads logs one after the other if only the first has its magic number. */
function following(output: LogOutput, index: number): LogOutput {
  let skip = index === 0 ? 0 : BINARY_LOG_MAGIC.length;
  return async (bytes) => {
    const part = bytes.subarray(skip);
    skip = 0;
    if (part.length > 0) await output(part);
  };
}

function resultOf(file: string, output: string | undefined, log: DecryptedLog, isLast: boolean): FileResult {
  const { events, version, algorithm, unfinished } = log;
  const key =
    version === undefined
      ? 'in clear'
      : `encrypted with key 1 version ${version}${algorithm === undefined ? '' : ` (${algorithm})`}`;
  const cut =
    unfinished &&
    `it ends within an event: the last ${unfinished.bytes} bytes, from ${unfinished.position} on, are left out`;
  return {
    file,
    output,
    summary: `${events} events, ${key}`,
    facts: { events, keyVersion: version, algorithm, unfinished },
    notes: cut === undefined || !isLast ? [] : [cut],
    isCut: cut !== undefined,
    problem:
      cut === undefined || isLast
        ? undefined
        : new KeyError('DATA_UNREADABLE', `${file}: ${cut}, and it is not the last log`, {
            hint: 'copy the log again; if its server was killed while it wrote this log, no event is missing: decrypt the logs behind it by a command of their own',
          }),
  };
}
