/** docs/reference.md as tests read it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const REFERENCE = join(import.meta.dirname, '../../docs/reference.md');

export interface VariableSection {
  readonly sentence: string;
  /** The labelled lines of its list. */
  readonly facts: Readonly<Record<string, string>>;
}

/** The sections of the variables whose names begin so, by their names, in the order of the page. */
export function variableSections(prefix: string): ReadonlyMap<string, VariableSection> {
  const [, ...sections] = readFileSync(REFERENCE, 'utf8').split(/^#+ /m);
  return new Map(
    sections
      .filter((text) => text.startsWith(prefix))
      .map((text) => {
        const [name = '', sentence = ''] = text.split('\n\n');
        const facts = [...text.matchAll(/^- ([^:]+): (.*)$/gm)].map(([, label = '', fact = '']) => [label, fact]);
        return [name, { sentence: sentence.replaceAll('\n', ' '), facts: Object.fromEntries(facts) }];
      }),
  );
}

/** A block of SQL with what it prints: the user of its prompt, its statements, and the output of all of them. */
export interface Transcript {
  readonly user: string;
  readonly statements: string;
  readonly output: string;
}

const PROMPT = /^(?:(MariaDB|guest)>| {4}->) /;

/** The blocks of the page that begin with a prompt, in its order. */
export function transcripts(): readonly Transcript[] {
  return [...readFileSync(REFERENCE, 'utf8').matchAll(/^```\n((?:MariaDB|guest)> [\s\S]*?)^```$/gm)].map(
    ([, block = '']) => {
      const lines = block.trimEnd().split('\n');
      const typed = lines.filter((line) => PROMPT.test(line)).map((line) => line.replace(PROMPT, ''));
      const output = lines.filter((line) => !PROMPT.test(line));
      return {
        user: block.startsWith('guest') ? 'guest' : 'root',
        statements: `${typed.join('\n')}\n`,
        output: output.map((line) => `${line}\n`).join(''),
      };
    },
  );
}
