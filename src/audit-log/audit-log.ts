import { basename, dirname, join } from 'node:path';
import type { Clock } from '../clock.ts';
import { sha256 } from '../disk/files.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import type { AuditFile, AuditFiles } from './audit-files.ts';
import { type Entry, type Facts, formatEntry, type HashedEntry, NO_HASH, type Outcome } from './entry.ts';
import { type Tail, tailOf } from './tail.ts';

export interface AuditLog {
  /**
   * Appends the intent and syncs it.
   * @param about what will be changed; never a secret
   * @throws KeyError AUDIT_LOG_UNUSABLE: the command stops before it changes anything
   */
  begin(command: string, about: Facts): Promise<AuditedAction>;
}

export interface AuditedAction {
  /**
   * Appends the outcome. Never rejects: a failure to write undoes nothing.
   * @param kmsRequestIds of the calls that changed something, for CloudTrail
   * @returns false: it could not be written, and `warn` was called
   */
  end(outcome: Outcome, facts: Facts, kmsRequestIds?: readonly string[]): Promise<boolean>;
}

/** The process that writes, for its entries. */
export type Writer = Pick<Entry, 'who' | 'login' | 'host' | 'pid' | 'tool'>;

export interface AuditLogParts {
  readonly path: string;
  readonly files: AuditFiles;
  readonly clock: Clock;
  /** Waits for its turn among all processes; the lock ends with this process at the latest. Rejects with a reason. */
  readonly lock: (directory: string) => Promise<() => Promise<void>>;
  readonly writer: Writer;
  /** Removes secrets from a text. */
  readonly redact: (text: string) => string;
  /**
   * Keeps the head elsewhere. Never rejects.
   * @param entry the entry that it is the hash of
   */
  readonly publish: (head: Head, entry: Pick<Entry, 'command' | 'event' | 'outcome'>) => Promise<void>;
  readonly warn: (problem: KeyError) => void;
}

/** The last entry of a log. */
export interface Head {
  readonly path: string;
  readonly seq: number;
  readonly hash: string;
  readonly time: string;
}

export function openAuditLog(parts: AuditLogParts): AuditLog {
  return {
    begin: async (command, about) => {
      const intent = await append(parts, { command, event: 'intent', about });
      return {
        end: async (outcome, facts, kmsRequestIds) => {
          const ids = kmsRequestIds === undefined || kmsRequestIds.length === 0 ? {} : { kmsRequestIds };
          try {
            await append(parts, { command, event: 'outcome', intent: intent.seq, outcome, about: facts, ...ids });
            return true;
          } catch (thrown) {
            const { code, message, hint } = toKeyError(thrown);
            parts.warn(new KeyError(code, `the outcome, "${outcome}", is not in the audit log: ${message}`, { hint }));
            return false;
          }
        },
      };
    },
  };
}

/** Returns the last entry; undefined: there is none. @throws KeyError AUDIT_LOG_UNUSABLE */
export async function readHead(path: string, files: AuditFiles): Promise<Head | undefined> {
  const bytes = await files.read(path).catch((cause: unknown) => {
    throw unusable(path, 'read', cause);
  });
  const { last } = tailOf(bytes ?? Buffer.alloc(0));
  const found = last ?? (await lastOfRotated(path, files));
  return found === undefined ? undefined : { path, seq: found.seq, hash: found.hash, time: found.time };
}

type Given = Pick<Entry, 'command' | 'event' | 'intent' | 'outcome' | 'about' | 'kmsRequestIds'>;

async function append(parts: AuditLogParts, given: Given): Promise<Head> {
  const { path, files, lock, publish } = parts;
  const failed = (action: string) => (cause: unknown) => {
    throw unusable(path, action, cause);
  };
  await files.prepare(path).catch(failed('make the directory of'));
  const release = await lock(dirname(path)).catch(failed('lock'));
  let head: Head;
  try {
    const file = await files.open(path).catch(failed('open'));
    try {
      head = await appendTo(file, parts, given);
    } finally {
      await file.close().catch(() => undefined);
    }
  } finally {
    await release();
  }
  await publish(head, given);
  return head;
}

async function appendTo(file: AuditFile, parts: AuditLogParts, given: Given): Promise<Head> {
  const { path, files, clock, writer, redact } = parts;
  const failed = (action: string) => (cause: unknown) => {
    throw unusable(path, action, cause);
  };
  const tail = tailOf(await file.read().catch(failed('read')));
  if (!tail.isGenuine) throw changedAtEnd(path, tail);
  const before = tail.last ?? (await lastOfRotated(path, files));
  const time = new Date(clock.wallMs()).toISOString();
  const lines: string[] = [];
  let head = { path, seq: before?.seq ?? 0, hash: before?.hash ?? NO_HASH, time };
  const add = ({ command, event, about, ...more }: Given): void => {
    const seq = head.seq + 1;
    const entry = { seq, time, ...writer, command, event, ...more, about, previous: head.hash };
    const { line, hash } = formatEntry(entry);
    lines.push(`${line}\n`);
    head = { path, seq, hash, time };
  };
  if (!tail.endsLine) lines.push('\n');
  if (tail.torn.length > 0) {
    add({
      ...given,
      event: 'torn',
      intent: undefined,
      outcome: undefined,
      about: describeTorn(tail.torn),
      kmsRequestIds: undefined,
    });
  }
  add({ ...given, about: redacted(given.about, redact) });
  await file.append(Buffer.from(lines.join(''))).catch(failed('write'));
  return head;
}

const LINE_FEED = 0x0a;

/** The facts about bytes that are no entry, by which `verifyAuditLog` recognises them. */
export function describeTorn(torn: Buffer): { readonly bytes: number; readonly sha256: string } {
  const text = torn.at(-1) === LINE_FEED ? torn.subarray(0, -1) : torn;
  return { bytes: text.length, sha256: sha256(text) };
}

function redacted(value: Facts, redact: (text: string) => string): Facts {
  const each = (found: unknown): unknown => {
    if (typeof found === 'string') return redact(found);
    if (Array.isArray(found)) return found.map(each);
    return typeof found === 'object' && found !== null ? redacted({ ...found }, redact) : found;
  };
  return Object.fromEntries(Object.entries(value).map(([name, found]) => [name, each(found)]));
}

/** The last entry of the file that logrotate moved away last: `audit.log.1`, or `audit.log-20300101`. */
export async function lastOfRotated(path: string, files: AuditFiles): Promise<HashedEntry | undefined> {
  const failed = (cause: unknown): never => {
    throw unusable(path, 'read the file before', cause);
  };
  const start = basename(path);
  const names = await files.list(dirname(path)).catch(failed);
  const endings = names.filter((name) => name.startsWith(start)).map((name) => name.slice(start.length));
  const [number] = endings.filter((end) => /^\.\d+$/.test(end)).sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  const date = endings
    .filter((end) => /^-\d+$/.test(end))
    .sort()
    .at(-1);
  let latest: HashedEntry | undefined;
  for (const ending of [number, date]) {
    if (ending === undefined) continue;
    const bytes = await files.read(join(dirname(path), `${start}${ending}`)).catch(failed);
    const { last } = tailOf(bytes ?? Buffer.alloc(0));
    if (last !== undefined && last.seq > (latest?.seq ?? 0)) latest = last;
  }
  return latest;
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: 'run this as root, or name a file that this user may write: --audit-log FILE',
  EPERM: 'run this as root, or name a file that this user may write: --audit-log FILE',
  ENOENT: 'make its directory, or name another file: --audit-log FILE',
  EROFS: 'name a file that can be written: --audit-log FILE',
  ENOSPC: 'free some space, and run this again',
  EDQUOT: 'free some space, and run this again',
};

function unusable(path: string, action: string, cause: unknown): KeyError {
  const code = systemErrorCode(cause) ?? '';
  const reason = /^E[A-Z0-9]+$/.test(code) ? code : cause instanceof Error ? cause.message : String(cause);
  return new KeyError('AUDIT_LOG_UNUSABLE', `cannot ${action} the audit log ${path}: ${reason}`, {
    hint: HINTS[code] ?? 'nothing is changed without a trace: mend that, or name another file: --audit-log FILE',
    cause,
  });
}

function changedAtEnd(path: string, { last }: Tail): KeyError {
  const text = `the last entry of the audit log ${path}, number ${last?.seq}, is not as it was written`;
  return new KeyError('AUDIT_LOG_UNUSABLE', text, {
    hint: `find out who changed it (mariadb-aws-kms audit-log verify), and keep the file: mv ${path} ${path}.changed; the next command begins another`,
  });
}
