import type { KeyError } from '../errors.ts';
import { mergeAlike } from '../format/alike.ts';
import { printableJson } from '../printable.ts';
import type { CliIo } from './process-io.ts';

/**
 * Prints a line for each cause, with the key versions that have it.
 * @param about the meaning for the command, such as `not backed up: `
 */
export function printProblems(io: CliIo, problems: readonly KeyError[], about = ''): void {
  for (const { message, hint } of mergeAlike(problems)) {
    io.stderr(`mariadb-aws-kms: error: ${about}${message}`);
    if (hint !== '') io.stderr(`hint: ${hint}`);
  }
}

/**
 * The JSON for a command with `--json` that failed before its result, so that a script always reads JSON. `doctor`
 * prints an array of findings in every case.
 */
export function failureAsJson(argv: readonly string[], error: KeyError): string | undefined {
  const [, , verb, ...more] = argv;
  if (!more.includes('--json')) return undefined;
  const { message: found, hint: fix } = error;
  const answer =
    verb === 'doctor'
      ? [{ check: 'option-files', status: 'failure', found, ...(fix === '' ? {} : { fix }) }]
      : { ok: false, problems: problemsAsJson([error]) };
  return printableJson(answer, 2);
}

/** The problems as members of the JSON output. */
export function problemsAsJson(problems: readonly KeyError[]): readonly Pick<KeyError, 'code' | 'message' | 'hint'>[] {
  return problems.map(({ code, message, hint }) => ({ code, message, hint }));
}
