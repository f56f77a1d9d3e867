/** Looks for changes in an audit log. */
import { KeyError } from '../errors.ts';
import { describeTorn } from './audit-log.ts';
import { type HashedEntry, NO_HASH, parseEntry } from './entry.ts';

export interface AuditLogVerdict {
  readonly entries: readonly HashedEntry[];
  /** Each change that was found. */
  readonly problems: readonly KeyError[];
  /** Interrupted writes and commands without an outcome. */
  readonly notes: readonly string[];
}

export interface Expected {
  /** The hash of an entry that must be there: that entry and all before it were not cut off. */
  readonly head: string | undefined;
  /** The last entry of the file before; undefined: there is no such file. */
  readonly before: Before | 'unknown' | undefined;
}

type Before = Pick<HashedEntry, 'seq' | 'hash'>;

/**
 * Follows the chain from the first to the last line. A chain alone cannot show that its last entries were cut off, or
 * that all of it was written anew: a head that was kept elsewhere can.
 */
export function verifyAuditLog(bytes: Buffer, { head, before }: Expected): AuditLogVerdict {
  const entries: HashedEntry[] = [];
  const problems: KeyError[] = [];
  const notes: string[] = [];
  let torn: string[] = [];
  const lines = bytes.toString('latin1').split('\n');
  const isCut = lines.at(-1) !== '';
  if (!isCut) lines.pop();
  for (const [index, latin] of lines.entries()) {
    const where = `line ${index + 1}`;
    const parsed = parseEntry(utf8(latin));
    if (parsed === undefined || (isCut && index === lines.length - 1 && !parsed.isGenuine)) {
      torn.push(latin);
      continue;
    }
    const { entry, isGenuine } = parsed;
    if (torn.length > 0) {
      const found = describeTorn(Buffer.from(torn.join('\n'), 'latin1'));
      const isTold = entry.event === 'torn' && entry.about['sha256'] === found.sha256;
      if (isTold) notes.push(`${where}: an interrupted write left ${found.bytes} bytes before it`);
      else problems.push(changed(`${where}: the ${found.bytes} bytes before it are no entry`));
      torn = [];
    }
    if (!isGenuine) problems.push(changed(`${where}: entry ${entry.seq} is not as it was written`));
    const last = entries.at(-1);
    const wrong = last === undefined ? misplacedFirst(entry, before) : misplaced(entry, last, '');
    if (wrong !== undefined) problems.push(changed(`${where}: ${wrong}`));
    if (last === undefined && before === 'unknown' && entry.seq > 1)
      notes.push(`entry ${entry.seq} is the first, and goes on from another file, which ends with ${entry.previous}`);
    entries.push(entry);
  }
  if (torn.length > 0) notes.push('the end is an interrupted write: the next command says so, and goes on after it');
  const first = entries[0];
  const isThere = head === undefined || entries.some(({ hash }) => hash === head) || first?.previous === head;
  if (!isThere) {
    const last = entries.at(-1);
    const end = last === undefined ? 'it has no entry' : `it ends with entry ${last.seq}, ${last.hash}`;
    problems.push(changed(`no entry has the hash ${head}: it was cut off or written anew; ${end}`));
  }
  return { entries, problems, notes: [...notes, ...unended(entries)] };
}

function utf8(latin: string): string {
  return Buffer.from(latin, 'latin1').toString('utf8');
}

function misplacedFirst(entry: HashedEntry, before: Expected['before']): string | undefined {
  if (before !== undefined && before !== 'unknown') return misplaced(entry, before, ' of the file before');
  const { seq, previous } = entry;
  if (seq === 1) return previous === NO_HASH ? undefined : 'entry 1 goes on from another';
  return before === undefined ? `entry ${seq} is the first: ${seq - 1} before it are missing` : undefined;
}

function misplaced({ seq, previous }: HashedEntry, before: Before, place: string): string | undefined {
  const after = `entry ${before.seq}${place}`;
  if (seq > before.seq + 1) return `entry ${seq} follows ${after}: ${seq - before.seq - 1} between them are missing`;
  if (seq <= before.seq) return `entry ${seq} follows ${after}: they are out of order, or there twice`;
  return previous === before.hash ? undefined : `entry ${seq} does not go on from ${after}`;
}

function unended(entries: readonly HashedEntry[]): readonly string[] {
  const ended = new Set(entries.map(({ intent }) => intent));
  return entries
    .filter(({ event, seq }) => event === 'intent' && !ended.has(seq))
    .map(
      ({ seq, command, pid, host }) =>
        `entry ${seq}: ${command} has no outcome: process ${pid} on ${host} was ended, or is at work`,
    );
}

function changed(text: string): KeyError {
  return new KeyError('AUDIT_LOG_CHANGED', text);
}
