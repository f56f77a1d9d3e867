import type { Command } from 'commander';
import type { CliIo } from '../process-io.ts';
import { decryptAriaCommand } from './aria.ts';
import { decryptBinlogCommand } from './binlog.ts';
import { decryptCommand } from './decrypt.ts';
import { decryptPageCommand } from './page.ts';
import { decryptTablespaceCommand } from './tablespace.ts';

/** `mariadb-aws-kms decrypt` with all kinds of files. */
export function decryptKindsCommand(io: CliIo): Command {
  return decryptCommand(
    decryptTablespaceCommand(io),
    decryptPageCommand(io),
    decryptBinlogCommand(io),
    decryptAriaCommand(io),
  );
}
