/** Decrypts files one after the other, and prints the results, for the verbs of `decrypt` that take logs or Aria tables. */
import type { DataKeys } from '../../decrypt/data-keys.ts';
import { KeyError, toKeyError } from '../../errors.ts';
import { printableJson } from '../../printable.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import { FAILED, INCOMPLETE } from '../exit-status.ts';
import { printProblems, problemsAsJson } from '../problems.ts';
import type { CliIo } from '../process-io.ts';
import { withoutSecrets } from '../system.ts';
import { ReaderGone } from './byte-streams.ts';
import { type KeySourceOptions, withDataKeys } from './key-source.ts';

export interface FileResult {
  readonly file: string;
  /** Undefined: standard output. */
  readonly output: string | undefined;
  /** A sentence about the data. */
  readonly summary: string;
  /** Members of the JSON. */
  readonly facts: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
  /** True: the end of the data is left out. */
  readonly isCut: boolean;
  /** An error in spite of the copy. */
  readonly problem?: KeyError | undefined;
}

export interface EachFile {
  readonly files: readonly string[];
  /** True: standard output has the data, and nothing follows a file that failed. */
  readonly toStdout: boolean;
  readonly decrypt: (file: string, index: number, keys: DataKeys, signal: AbortSignal) => Promise<FileResult>;
}

export type EachFileOptions = KeySourceOptions & { readonly json?: boolean };

/** Ends the command with its status. @throws KeyError BAD_OPTION, KEY_FILE_… of the source of keys */
export async function decryptEach(
  io: CliIo,
  options: EachFileOptions,
  outside: Surroundings,
  { files, toStdout, decrypt }: EachFile,
): Promise<void> {
  const interrupted = new AbortController();
  const forget = io.onSignal(() =>
    interrupted.abort(new KeyError('TIMEOUT', 'interrupted: the copy that was being made is removed')),
  );
  const results: FileResult[] = [];
  const problems: KeyError[] = [];
  const fail = (error: unknown): void => void problems.push(withoutSecrets(toKeyError(error)));
  try {
    await withDataKeys(io, options, outside, async (keys) => {
      for (const [index, file] of files.entries()) {
        try {
          const result = await decrypt(file, index, keys, interrupted.signal);
          results.push(result);
          if (!options.json) print(toStdout ? io.stderr : io.stdout, io, result);
          if (result.problem !== undefined) fail(result.problem);
        } catch (thrown) {
          if (thrown instanceof ReaderGone) throw thrown;
          fail(thrown);
        }
        if (interrupted.signal.aborted || (toStdout && problems.length > 0)) break;
      }
    });
  } catch (thrown) {
    if (!(thrown instanceof ReaderGone)) throw thrown;
    io.stderr('the reader of the output has gone, and the rest was not decrypted');
  } finally {
    forget();
  }
  const status = problems.length > 0 ? FAILED : results.some(({ isCut }) => isCut) ? INCOMPLETE : 0;
  if (options.json) {
    const copied = results.map(({ file, output, facts, notes }) => ({ file, output, ...facts, notes }));
    const json = { ok: status === 0, files: copied, problems: problemsAsJson(problems) };
    io.stdout(printableJson(json, 2), 'prepared');
  } else printProblems(io, problems);
  io.exit(status);
}

function print(line: CliIo['stdout'], io: CliIo, { file, output, summary, notes }: FileResult): void {
  line(`${file}: ${summary}${output === undefined ? '' : `: ${output}`}`);
  for (const note of notes) io.stderr(`mariadb-aws-kms: note: ${file}: ${note}`);
}
