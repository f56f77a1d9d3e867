import type { Account } from '../server/surroundings.ts';

export type Owner = Pick<Account, 'name' | 'uid' | 'gid'>;

export const ROOT: Owner = { name: 'root', uid: 0, gid: 0 };

interface Entry {
  readonly path: string;
  readonly owner: Owner;
  readonly mode: number;
}

export interface DirectoryStep extends Entry {
  readonly kind: 'directory';
}

export interface FileStep extends Entry {
  readonly kind: 'file';
  readonly text: string;
  /** True: a file that exists stays as it is, whatever it holds. */
  readonly isKept?: boolean;
  /** True: a text for people, which configures nothing. */
  readonly isProse?: boolean;
}

/** A marked block in a file that may hold other lines. */
export interface BlockStep extends Entry {
  readonly kind: 'block';
  readonly text: string;
}

export type TextStep = FileStep | BlockStep;

/** A directory, a file or a part of one that is to exist. */
export type Step = DirectoryStep | TextStep;

export type State = 'new' | 'there';

export interface PlannedStep {
  readonly step: Step;
  readonly state: State;
}

export function describeStep({ kind, path, owner, mode }: Step): string {
  const place = kind === 'block' ? `block in ${path}` : `${kind} ${path}`;
  const octal = `0${mode.toString(8).padStart(3, '0')}`;
  return kind === 'block' ? place : `${place} (mode ${octal}, owner ${owner.name})`;
}

/** Lines of a configuration that do something: neither comments nor empty. */
export function effectiveLines(step: Step): readonly string[] {
  if (step.kind === 'directory' || (step.kind === 'file' && step.isProse === true)) return [];
  return step.text.split('\n').filter((line) => line !== '' && !/^[#;]/.test(line));
}
