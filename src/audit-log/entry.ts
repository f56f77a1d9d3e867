/** Lines of the audit log: the format is described in docs/operation.md. */
import { hash } from 'node:crypto';
import { printableJson } from '../printable.ts';

export const EVENTS = ['intent', 'outcome', 'torn'] as const;
export const OUTCOMES = ['done', 'failed', 'interrupted'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export type Facts = Readonly<Record<string, unknown>>;

/** A line of the log. */
export interface Entry {
  /** Counts from 1, through all files of a log. */
  readonly seq: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** The user that the command ran as. */
  readonly who: string;
  /** The user who logged in before becoming `who`, where the system tells. */
  readonly login?: string | undefined;
  readonly host: string;
  readonly pid: number;
  /** Name and release of the program. */
  readonly tool: string;
  readonly command: string;
  /** `torn`: an interrupted write left the bytes before this line, which are no entry. */
  readonly event: (typeof EVENTS)[number];
  /** The number of the intent that an outcome belongs to. */
  readonly intent?: number | undefined;
  readonly outcome?: Outcome | undefined;
  readonly about: Facts;
  readonly kmsRequestIds?: readonly string[] | undefined;
  /** The hash of the entry before; 64 zeros in the first one. */
  readonly previous: string;
}

export interface HashedEntry extends Entry {
  /** SHA-256, lower-case hex, of the line up to the comma before this member. */
  readonly hash: string;
}

export const NO_HASH = '0'.repeat(64);
const HASH = /^[0-9a-f]{64}$/;
const END = /^,"hash":"[0-9a-f]{64}"\}$/;
/** Characters of `,"hash":"…"}`. */
const END_LENGTH = 75;

/** @returns the line without its line feed, and its hash */
export function formatEntry(entry: Entry): { readonly line: string; readonly hash: string } {
  const text = printableJson(entry).slice(0, -1);
  const sum = sumOf(text);
  return { line: `${text},"hash":"${sum}"}`, hash: sum };
}

export interface ParsedEntry {
  readonly entry: HashedEntry;
  /** False: the line is not the one that was written. */
  readonly isGenuine: boolean;
}

/** Parses a line; undefined: it is no entry. */
export function parseEntry(line: string): ParsedEntry | undefined {
  const value = jsonOf(line);
  if (!isEntry(value)) return undefined;
  const isGenuine = END.test(line.slice(-END_LENGTH)) && sumOf(line.slice(0, -END_LENGTH)) === value.hash;
  return { entry: value, isGenuine };
}

function sumOf(text: string): string {
  return hash('sha256', text, 'hex');
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isEntry(value: unknown): value is HashedEntry {
  if (typeof value !== 'object' || value === null) return false;
  const found: Readonly<Record<string, unknown>> = { ...value };
  const { seq, pid, event, intent, outcome, about, kmsRequestIds: ids, previous, hash: sum } = found;
  const texts = ['time', 'who', 'host', 'tool', 'command'].map((name) => found[name]);
  return (
    isCount(seq) &&
    isCount(pid) &&
    texts.every((text) => typeof text === 'string') &&
    isOptional(found['login'], (login) => typeof login === 'string') &&
    EVENTS.some((known) => known === event) &&
    isOptional(intent, isCount) &&
    isOptional(outcome, (given) => OUTCOMES.some((known) => known === given)) &&
    typeof about === 'object' &&
    about !== null &&
    !Array.isArray(about) &&
    isOptional(ids, (given) => Array.isArray(given) && given.every((id) => typeof id === 'string')) &&
    isHash(previous) &&
    isHash(sum)
  );
}

function isOptional(value: unknown, isGood: (value: unknown) => boolean): boolean {
  return value === undefined || isGood(value);
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

export function isHash(value: unknown): boolean {
  return typeof value === 'string' && HASH.test(value);
}
