import type { KeyError } from '../errors.ts';
import type { CliIo } from './process-io.ts';

/** @param about what it means for the command, such as `not backed up: ` */
export function printProblem(io: CliIo, { message, hint }: KeyError, about = ''): void {
  io.stderr(`mariadb-aws-kms: error: ${about}${message}`);
  if (hint !== '') io.stderr(`hint: ${hint}`);
}

/** As members of what `--json` prints. */
export function problemsAsJson(problems: readonly KeyError[]): readonly Pick<KeyError, 'code' | 'message' | 'hint'>[] {
  return problems.map(({ code, message, hint }) => ({ code, message, hint }));
}
