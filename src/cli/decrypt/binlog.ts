import { Command } from 'commander';
import { type DecryptedLog, decryptLog, type LogOutput } from '../../decrypt/binlog.ts';
import { openLog } from '../../decrypt/log-file.ts';
import { createNewFile, type NewFile } from '../../disk/new-file.ts';
import { KeyError } from '../../errors.ts';
import { BINARY_LOG_MAGIC } from '../../format/binary-log-event.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import type { CliIo } from '../process-io.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { type ByteStreams, processStreams, ReaderGone } from './byte-streams.ts';
import { type KeySourceOptions, withDataKeys, withKeySource } from './key-source.ts';
import { outputPaths } from './outputs.ts';

interface BinlogOptions extends KeySourceOptions {
  readonly to?: string;
  readonly stdout?: boolean;
}

const STANDARD_INPUT = '-';

/** `mariadb-aws-kms decrypt binlog`. @throws KeyError */
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
    .addHelpText('after', EXAMPLES)
    .action(async (files: readonly string[], options: BinlogOptions) => {
      const outside = surroundings();
      const streams = byteStreams();
      const names = await outputNames(files, options, streams, outside);
      const interrupted = new AbortController();
      const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted: nothing was finished')));
      try {
        await withDataKeys(io, options, outside, async (keys) => {
          for (const [index, file] of files.entries()) {
            const input = file === STANDARD_INPUT ? streams.input : openLog(outside.files.data, file);
            const copy = names === undefined ? undefined : createNewFile(names[index] ?? '', outside.random);
            const output = copy === undefined ? following(streams.output, index) : appendTo(copy);
            try {
              const log = await decryptLog(input, keys, output, interrupted.signal);
              copy?.complete();
              for (const line of described(log)) io.stderr(`${input.name}: ${line}`);
            } finally {
              input.close();
              copy?.close();
            }
          }
        });
      } catch (error) {
        if (!(error instanceof ReaderGone)) throw error;
        io.stderr('the reader of the output has gone, and the rest was not decrypted');
      } finally {
        forget();
      }
    });
}

const EXAMPLES = `
Examples:
  mariadb-aws-kms decrypt binlog --to /restore/logs /backup/binlog.000007 /backup/binlog.000008
  mariadb-aws-kms decrypt binlog --stdout binlog.000007 binlog.000008 | mariadb-binlog - | mariadb`;

/** Returns the path of each copy. Undefined: the output is standard output. @throws KeyError BAD_OPTION */
async function outputNames(
  files: readonly string[],
  { to, stdout }: BinlogOptions,
  { showsOutput }: ByteStreams,
  outside: Surroundings,
): Promise<readonly string[] | undefined> {
  if (files.filter((file) => file === STANDARD_INPUT).length > 1)
    throw new KeyError('BAD_OPTION', 'standard input can be read only once');
  if ((to === undefined) === (stdout !== true))
    throw new KeyError('BAD_OPTION', 'say with either --to or --stdout what the output is');
  if (to === undefined) {
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

function described({ events, version, algorithm, unfinished }: DecryptedLog): readonly string[] {
  const key =
    version === undefined
      ? 'in clear'
      : `encrypted with key 1 version ${version}${algorithm === undefined ? '' : ` (${algorithm})`}`;
  const lines = [`${events} events, ${key}`];
  if (unfinished !== undefined) {
    const { bytes, position } = unfinished;
    lines.push(`it ends within an event: the last ${bytes} bytes, from ${position} on, are left out`);
  }
  return lines;
}
