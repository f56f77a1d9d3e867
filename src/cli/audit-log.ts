import { resolve } from 'node:path';
import { Command } from 'commander';
import { nodeAuditFiles } from '../audit-log/audit-files.ts';
import { lastOfRotated } from '../audit-log/audit-log.ts';
import { type HashedEntry, isHash } from '../audit-log/entry.ts';
import { type AuditLogVerdict, verifyAuditLog } from '../audit-log/verify.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { printableJson } from '../printable.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { FAILED } from './exit-status.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface ShowOptions {
  readonly file?: string;
  readonly json?: boolean;
}

interface VerifyOptions extends ShowOptions {
  readonly head?: string;
  readonly quiet?: boolean;
}

const DEFAULT_FILE = '/var/log/mariadb-aws-kms/audit.log';

/** `mariadb-aws-kms audit-log`: reads the log that the commands write. */
export function auditLogCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return new Command('audit-log')
    .description('show and verify the log of what the commands changed')
    .addCommand(showCommand(io, surroundings))
    .addCommand(verifyCommand(io, surroundings));
}

/** @throws KeyError AUDIT_LOG_UNUSABLE */
function showCommand(io: CliIo, surroundings: () => Surroundings): Command {
  return new Command('show')
    .description('print the entries, the oldest first')
    .option('--file <file>', `read this file (default: ${DEFAULT_FILE})`)
    .option('--json', 'print the result as JSON: { file, entries }')
    .addHelpText('after', `\nExample:\n  mariadb-aws-kms audit-log show${STATUS_OF_SHOW}`)
    .action(async (options: ShowOptions) => {
      const { file, bytes } = await readLog(options, surroundings());
      // The entries of a changed log are shown, too: `verify` judges them.
      const { entries } = verifyAuditLog(bytes, { head: undefined, before: undefined });
      if (options.json === true) io.stdout(printableJson({ file, entries }, 2), 'prepared');
      else for (const entry of entries) io.stdout(describe(entry));
      io.exit(0);
    });
}

const STATUS_OF_SHOW = '\n\nExit status:\n  0  shown\n  1  the log cannot be read';

/** @throws KeyError AUDIT_LOG_UNUSABLE, BAD_OPTION */
function verifyCommand(io: CliIo, surroundings: () => Surroundings): Command {
  return new Command('verify')
    .description('check that no entry was changed, moved or removed')
    .option('--head <hash>', 'a hash that was kept elsewhere, such as in syslog: check that its entry is there, too')
    .option('--file <file>', `read this file (default: ${DEFAULT_FILE})`)
    .option('--json', 'print the result as JSON: { file, ok, entries, head, problems, notes }')
    .option('--quiet', 'print problems only')
    .addHelpText(
      'after',
      '\nExample:\n  mariadb-aws-kms audit-log verify --head 0123…cdef\n\nExit status:\n  0  the log is as it was written\n  1  it was changed, or cannot be read\n  2  bad usage',
    )
    .action(async (options: VerifyOptions) => {
      const outside = surroundings();
      if (options.head !== undefined && !isHash(options.head)) {
        throw new KeyError('BAD_OPTION', '--head: expected 64 hex digits in lower case', {
          hint: 'syslog has it after each entry: journalctl --identifier mariadb-aws-kms',
        });
      }
      const { file, bytes } = await readLog(options, outside);
      // A file from elsewhere may go on from one that is not here; the log of this machine may not.
      const before =
        (await lastOfRotated(file, nodeAuditFiles(outside.uid))) ??
        (options.file === undefined ? undefined : 'unknown');
      report(io, options, file, verifyAuditLog(bytes, { head: options.head, before }));
    });
}

function report(io: CliIo, { json, quiet }: VerifyOptions, file: string, verdict: AuditLogVerdict): void {
  const { entries, problems, notes } = verdict;
  const last = entries.at(-1);
  const head = last === undefined ? undefined : { seq: last.seq, hash: last.hash, time: last.time };
  const ok = problems.length === 0;
  if (json === true) {
    const found = { file, ok, entries: entries.length, head, problems: problemsAsJson(problems), notes };
    io.stdout(printableJson(found, 2), 'prepared');
  } else {
    printProblems(io, problems);
    if (quiet !== true) {
      for (const note of notes) io.stderr(`mariadb-aws-kms: note: ${note}`);
      const count = `${entries.length} ${entries.length === 1 ? 'entry' : 'entries'}`;
      io.stdout(
        `${file}: ${count}: ${ok ? 'as written' : 'CHANGED'}${last === undefined ? '' : `; head ${last.hash}`}`,
      );
    }
  }
  io.exit(ok ? 0 : FAILED);
}

async function readLog(
  { file: given }: ShowOptions,
  { uid, paths }: Surroundings,
): Promise<{ readonly file: string; readonly bytes: Buffer }> {
  const file = resolve(given ?? paths.auditLog);
  const bytes = await nodeAuditFiles(uid)
    .read(file)
    .catch((cause: unknown) => {
      const reason = systemErrorCode(cause) ?? String(cause);
      throw new KeyError('AUDIT_LOG_UNUSABLE', `cannot read the audit log ${file}: ${reason}`, {
        hint: 'run this as root, or name another file: --file FILE',
        cause,
      });
    });
  if (bytes !== undefined) return { file, bytes };
  throw new KeyError('AUDIT_LOG_UNUSABLE', `there is no audit log ${file}`, {
    hint: 'commands that change something make it; name another file: --file FILE',
  });
}

function describe({ seq, time, who, login, command, event, intent, outcome, about }: HashedEntry): string {
  const user = login === undefined || login === who ? who : `${who} (login ${login})`;
  const result = event === 'outcome' ? `${outcome} (entry ${intent})` : event;
  return `${seq}  ${time}  ${user}  ${command}  ${result}  ${JSON.stringify(about)}`;
}
