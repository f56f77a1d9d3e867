import { KeyError } from '../errors.ts';

/** The subject that a failure's message begins with. */
const OWN_SUBJECT = /^key (\d+)(?: version (\d+))?(?: \(file aws-kms-key\.\d+\.\d+\))?/;
const SUBJECTS = /\bkey (\d+)(?: version (\d+))?/g;
const FILES = /aws-kms-key\.(\d+)\.(\d+)/g;
/** Request ids differ in every KMS call. */
const REQUESTS = /\brequest [\w-]+/g;
/** Durations and numbers of attempts vary by chance. */
const AMOUNTS = /\b\d+(?:\.\d+)? (?:s|ms|attempts?)\b/g;
const ROTATE = /\b(aws_key_management_rotate_key) ?= ?(\d+)/g;
/** The most ranges in one list; the rest is cut off, to keep log lines short. */
const NAMED = 20;

interface Subject {
  readonly id: string;
  /** Undefined: all versions of the key. */
  readonly version: string | undefined;
}

/**
 * Merges failures that differ only in their key version into one that lists the versions: when KMS refuses, every
 * version fails for the same reason. Another key that a message names is part of the reason. Failures come in the order
 * of their keys: the order in which KMS answered is chance.
 */
export function mergeAlike(errors: readonly KeyError[]): readonly KeyError[] {
  const groups = new Map<string, KeyError[]>();
  const ordered = errors
    .map((error) => ({ error, subject: subjectOf(error.message) }))
    .toSorted((a, b) => bySubject(a.subject, b.subject));
  for (const { error, subject } of ordered) {
    const cause = `${error.code}\n${withoutNames(error.message, subject)}\n${withoutNames(error.hint, subject)}`;
    groups.set(cause, [...(groups.get(cause) ?? []), error]);
  }
  return [...groups.values()].map((group) => merged(group));
}

/** Orders failures about no one key last. */
function bySubject(a: Subject | undefined, b: Subject | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return Number(a.id) - Number(b.id) || Number(a.version ?? 0) - Number(b.version ?? 0);
}

/** Returns undefined for a message about no key, or about several. */
function subjectOf(message: string): Subject | undefined {
  const [own, id, version] = OWN_SUBJECT.exec(message) ?? [];
  if (own !== undefined) return { id: id ?? '', version };
  const [file, ...more] = filesOf([message]);
  if (file === undefined || more.length > 0) return undefined;
  const [ofFile = '', itsVersion] = file.split('.');
  return { id: ofFile, version: itsVersion };
}

function merged(group: readonly KeyError[]): KeyError {
  const [first, ...more] = group;
  if (first === undefined) throw new KeyError('INTERNAL', 'a group of failures without one');
  if (more.length === 0) return first;
  const named = describeSubjects(group.map(({ message }) => OWN_SUBJECT.exec(message)?.[0] ?? ''));
  const files = filesOf(group.map(({ message }) => message.replace(OWN_SUBJECT, '')));
  const message = withFiles(first.message.replace(OWN_SUBJECT, named), files);
  const hint = withFiles(first.hint, filesOf(group.map((error) => error.hint))).replaceAll(ROTATE, '$1=ID');
  return new KeyError(first.code, message, { hint, cause: first });
}

function filesOf(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.flatMap((text) => [...text.matchAll(FILES)].map(([, id, version]) => `${id}.${version}`)))];
}

/** Lists files as a shell pattern. */
function withFiles(text: string, files: readonly string[]): string {
  return files.length > 1 ? text.replaceAll(FILES, `aws-kms-key.{${files.join(',')}}`) : text;
}

function withoutNames(text: string, subject: Subject | undefined): string {
  const isOwn = (id: string, version: string | undefined): boolean =>
    subject?.id === id && (version === undefined || version === subject.version);
  const rest = text
    .replace(OWN_SUBJECT, 'key')
    .replaceAll(SUBJECTS, (named, id: string, version: string | undefined) => (isOwn(id, version) ? 'key' : named))
    .replaceAll(FILES, (named, id: string, version: string) => (isOwn(id, version) ? 'file' : named))
    .replaceAll(ROTATE, (named, name: string, id: string) => (isOwn(id, undefined) ? name : named));
  return [REQUESTS, AMOUNTS].reduce((left, pattern) => left.replaceAll(pattern, ''), rest);
}

/** Returns a text such as `key 1 versions 1-3 and 5, keys 2-9 version 1`. */
function describeSubjects(subjects: readonly string[]): string {
  const versions = new Map<number, Set<number>>();
  for (const [, id, version] of subjects.flatMap((text) => [...text.matchAll(SUBJECTS)])) {
    const known = versions.get(Number(id)) ?? new Set();
    if (version !== undefined) known.add(Number(version));
    versions.set(Number(id), known);
  }
  const alike = new Map<string, number[]>();
  for (const [id, known] of versions) {
    const text = counted('version', [...known]);
    alike.set(text, [...(alike.get(text) ?? []), id]);
  }
  return [...alike]
    .map(([text, ids]) => ({ first: Math.min(...ids), text: `${counted('key', ids)}${text === '' ? '' : ` ${text}`}` }))
    .toSorted((a, b) => a.first - b.first)
    .map(({ text }) => text)
    .join(', ');
}

/** Returns a text such as `version 3` or `versions 1-3 and 5`; empty for none. */
function counted(what: string, numbers: readonly number[]): string {
  if (numbers.length === 0) return '';
  const ranges: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const texts = ranges.slice(0, NAMED).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  const left = ranges.slice(NAMED).reduce((count, [from, to]) => count + to - from + 1, 0);
  const end = left > 0 ? `${left} more` : texts.pop();
  const list = texts.length === 0 ? end : `${texts.join(', ')} and ${end}`;
  return `${numbers.length === 1 ? what : `${what}s`} ${list}`;
}
