/** Commands that change something leave a trace in the audit log. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { nodeAuditFiles } from '../audit-log/audit-files.ts';
import { type AuditLog, type Head, openAuditLog, type Writer } from '../audit-log/audit-log.ts';
import type { Facts, Outcome } from '../audit-log/entry.ts';
import { toKeyError } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import { within } from '../kms/retry.ts';
import { findAccount } from '../server/account.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { NOT_WRITTEN } from './exit-status.ts';
import { takeLock } from './file-lock.ts';
import type { CliIo } from './process-io.ts';
import { processSecrets } from './system.ts';

export interface AuditLogOptions {
  readonly auditLog?: string;
}

/** Adds the option of commands that append to the audit log. */
export function withAuditLog(command: Command): Command {
  return command.option('--audit-log <file>', 'append to this audit log (default: /var/log/mariadb-aws-kms/audit.log)');
}

/** The result of audited work. */
export interface Audited<T> {
  readonly outcome: Outcome;
  /** The result for the log; never a secret. */
  readonly facts: Facts;
  /** Those of the calls that changed or opened something. */
  readonly kmsRequestIds?: readonly string[];
  readonly value: T;
}

export interface Recorded<T> {
  readonly value: T;
  /** Returns the status to exit with: another one than 0 if the outcome could not be written. */
  readonly statusOf: (status: number) => number;
}

/**
 * Writes the intent, does the work, and writes its outcome, also that of work that throws.
 * @throws KeyError AUDIT_LOG_UNUSABLE before the work, and what the work throws
 */
export async function audited<T>(
  { io, outside, options }: { readonly io: CliIo; readonly outside: Surroundings; readonly options: AuditLogOptions },
  command: string,
  about: Facts,
  work: () => Promise<Audited<T>>,
): Promise<Recorded<T>> {
  const log = await auditLogOf(options, outside, io);
  const action = await log.begin(command, about);
  let done: Audited<T>;
  try {
    done = await work();
  } catch (thrown) {
    const { code, message } = toKeyError(thrown);
    await action.end('failed', { code, message });
    throw thrown;
  }
  const isWritten = await action.end(done.outcome, done.facts, done.kmsRequestIds);
  return { value: done.value, statusOf: (status) => (isWritten ? status : status || NOT_WRITTEN) };
}

export function auditLogPath({ auditLog }: AuditLogOptions, { paths }: Pick<Surroundings, 'paths'>): string {
  return resolve(auditLog ?? paths.auditLog);
}

/** For commands that end an action otherwise than `audited` does. */
export async function auditLogOf(options: AuditLogOptions, outside: Surroundings, io: CliIo): Promise<AuditLog> {
  const { clock, uid, release } = outside;
  return openAuditLog({
    path: auditLogPath(options, outside),
    files: nodeAuditFiles(uid),
    clock,
    lock: async (directory) => await takeLock(directory, LOCK_SECONDS),
    writer: { ...(await writerOf(outside)), host: hostname(), pid: process.pid, tool: `mariadb-aws-kms ${release}` },
    redact: (text) => processSecrets.redact(text),
    publish: async (head, { command, event, outcome }) => {
      const isKept = await tellSyslog(head, `${command}, ${outcome ?? event}`, outside);
      if (!isKept && event === 'outcome') {
        io.stderr(
          `mariadb-aws-kms: note: no syslog here takes the head of the audit log: keep it elsewhere: ${head.hash}`,
        );
      }
    },
    warn: ({ message, hint }) => {
      io.stderr(`mariadb-aws-kms: warning: ${message}`);
      if (hint !== '') io.stderr(`hint: ${hint}`);
    },
  });
}

const LOCK_SECONDS = 10;
const LOGGER_MS = 5_000;
/** The login uid of processes that nobody logged in for. */
const NOBODY = 4_294_967_295;

/** @returns true if syslog took it */
async function tellSyslog({ path, seq, hash }: Head, about: string, { run, clock }: Surroundings): Promise<boolean> {
  const words = ['--tag', 'mariadb-aws-kms', '--priority', 'auth.notice', '--socket-errors=on'];
  const text = `audit log ${path}: entry ${seq} (${about}) has the hash ${hash}`;
  const ended = await within(clock, LOGGER_MS, async (late) => await run('logger', [...words, '--', text], late)).catch(
    () => undefined,
  );
  return ended?.code === 0;
}

async function writerOf(outside: Surroundings): Promise<Pick<Writer, 'who' | 'login'>> {
  const { uid, environment, paths } = outside;
  const nameOf = async (id: number): Promise<string> => (await findAccount(id, outside))?.name ?? `uid ${id}`;
  const found = await readFile(join(paths.proc, 'self/loginuid'), 'utf8').catch(() => '');
  const loginUid = parseDecimal(found.trim());
  const sudoer = parseDecimal(environment['SUDO_UID'] ?? '');
  const login = loginUid === undefined || loginUid === NOBODY ? sudoer : loginUid;
  return { who: await nameOf(uid), ...(login === undefined ? {} : { login: await nameOf(login) }) };
}
