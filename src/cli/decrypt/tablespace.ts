import { Command } from 'commander';
import { size } from '../../audit/amounts.ts';
import {
  describeEnd,
  describePageFailure,
  describePages,
  describeProofs,
  isRight,
  tablespaceJson,
} from '../../decrypt/tablespace/describe.ts';
import { MOST_FAILURES, unprovenPages } from '../../decrypt/tablespace/result.ts';
import { decryptTablespace, type TablespaceResult } from '../../decrypt/tablespace/tablespace.ts';
import { KeyError, toKeyError } from '../../errors.ts';
import { printableJson } from '../../printable.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import { FAILED, INCOMPLETE } from '../exit-status.ts';
import { printProblems, problemsAsJson } from '../problems.ts';
import type { CliIo } from '../process-io.ts';
import { progressLine } from '../progress-line.ts';
import { withoutSecrets } from '../system.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { type KeySourceOptions, withDataKeys, withKeySource } from './key-source.ts';
import { outputPaths } from './outputs.ts';
import { withPageThreads } from './page-threads.ts';

/** Most copies that are under way: one that is read, and those before it that wait for the disk. */
const MOST_COPIES = 4;

interface TablespaceOptions extends KeySourceOptions {
  readonly to: string;
  readonly json?: boolean;
}

const HELP = `
Exit status:
  0  every page in use is in clear in the copy
  1  a file was not copied, or a page in use is not right: it is named, and stays in the copy as it was
  2  bad usage
  3  UNPROVEN: nothing shows that pages were decrypted with the right key`;
const EXAMPLES = `
Example:
  mariadb-aws-kms decrypt tablespace --to /restore/t.ibd /backup/shop/t.ibd
  mariadb-aws-kms decrypt tablespace --to /restore --key-file keys.txt shop/*.ibd`;

/** `mariadb-aws-kms decrypt tablespace`. @throws KeyError BAD_OPTION, KEY_FILE_… */
export function decryptTablespaceCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeySource(new Command('tablespace'))
    .description('copy InnoDB tablespaces in clear, for innochecksum and for IMPORT TABLESPACE without a key plugin')
    .argument('<file...>', '.ibd files, undo tablespaces, or the system tablespace; no server has them open')
    .requiredOption('--to <path>', 'new file for the only tablespace, or directory for the copies')
    .option('--json', 'print the result as JSON: { ok, files, problems }')
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLES)
    .action(async (files: readonly string[], options: TablespaceOptions) => {
      const outside = surroundings();
      const outputs = await outputPaths(files, options.to, outside);
      const interrupted = new AbortController();
      const forget = io.onSignal(() =>
        interrupted.abort(new KeyError('TIMEOUT', 'interrupted: the copy that was being made is removed')),
      );
      const show = progressLine(io, outside.clock);
      const results: (TablespaceResult & { readonly output: string })[] = [];
      const problems: KeyError[] = [];
      const finish = (output: string, found: TablespaceResult | KeyError): void => {
        io.redraw?.('');
        if (found instanceof KeyError) problems.push(found);
        else results.push({ ...found, output });
        if (!options.json) print(io, found, output);
      };
      try {
        await withDataKeys(io, options, outside, async (keys) => {
          await withPageThreads(files, outside, async (threads) => {
            const { random } = outside;
            const { signal } = interrupted;
            const finished: Promise<void>[] = [];
            for (const [index, file] of files.entries()) {
              if (signal.aborted) break;
              const output = outputs[index] ?? '';
              const { promise: allTaken, resolve } = Promise.withResolvers<void>();
              let done = 0;
              const progress = (bytes: number): void => {
                done += bytes;
                show(() => `decrypt: ${file}: ${size(done)} read, file ${index + 1} of ${files.length}`);
              };
              const parts = { keys, threads, random, signal, progress, allTaken: resolve };
              const copy = decryptTablespace(file, output, parts).catch((thrown: unknown) =>
                thrown === signal.reason ? undefined : withoutSecrets(toKeyError(thrown)),
              );
              const inTurn = async (before = finished[index - 1]): Promise<void> => {
                const found = await copy;
                await before;
                if (found !== undefined) finish(output, found);
              };
              finished.push(inTurn());
              await Promise.race([allTaken, copy]);
              await finished[index + 1 - MOST_COPIES];
            }
            await Promise.all(finished);
            if (results.length + problems.length < files.length) finish('', withoutSecrets(toKeyError(signal.reason)));
          });
        });
      } finally {
        forget();
      }
      const isOk = problems.length === 0 && results.every(isRight);
      if (options.json) {
        const copied = results.map((result) => ({ output: result.output, ...tablespaceJson(result) }));
        const all = [...problems, ...results.flatMap(({ keyProblems }) => keyProblems)];
        io.stdout(printableJson({ ok: isOk, files: copied, problems: problemsAsJson(all) }, 2), 'prepared');
      }
      const isProven = results.every((result) => unprovenPages(result) === 0);
      io.exit(isOk ? (isProven ? 0 : INCOMPLETE) : FAILED);
    });
}

function print(io: CliIo, found: TablespaceResult | KeyError, output: string): void {
  if (found instanceof KeyError) printProblems(io, [found]);
  else printResult(io, found, output);
}

function printResult(io: CliIo, result: TablespaceResult, output: string): void {
  const { path, copies, failed, failedFree, failures, keyProblems } = result;
  const proofs = describeProofs(result);
  io.stdout(`${path}: ${describePages(result)}`);
  if (proofs !== '') io.stdout(`  proved: ${proofs}`);
  io.stdout(`  copy: ${output}`);
  const note = (text: string): void => io.stderr(`mariadb-aws-kms: note: ${path}: ${text}`);
  if (copies > 0)
    note(
      `${copies} copies of pages, in the doublewrite area, are left out: a server that was shut down properly needs none`,
    );
  if (failedFree > 0) note(`${failedFree} free pages that do not decrypt are blank in the copy: nothing is in them`);
  printProblems(io, keyProblems, `${path}: `);
  for (const failure of failures)
    if (failure.reason !== 'no key')
      io.stderr(`mariadb-aws-kms: error: ${path}: ${describePageFailure(failure)}; it stays in the copy as it was`);
  if (failed > 0) {
    const shown = failures.length < failed && failures.length === MOST_FAILURES ? `, of which the first are named` : '';
    io.stderr(
      `mariadb-aws-kms: error: ${path}: ${failed} pages in use are not right${shown}, and stay in the copy as they were`,
    );
  }
  const end = describeEnd(result);
  if (end !== undefined) io.stderr(`mariadb-aws-kms: error: ${path}: ${end}; the copy has its whole pages`);
  const unproven = unprovenPages(result);
  if (unproven > 0)
    io.stderr(
      `mariadb-aws-kms: warning: ${path}: UNPROVEN: nothing shows that ${unproven} pages were decrypted with the right key: their compression is not read here`,
    );
}
