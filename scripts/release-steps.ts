/** The steps of docs/releasing.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ReleaseStep {
  /** From 1 on, without gaps. */
  readonly number: number;
  readonly title: string;
  readonly text: string;
  /** Lines for the shell, to be run at the root of the checkout; empty for a step of a person. */
  readonly commands: string;
}

/** @throws Error when the numbers of the steps have a gap */
export function readReleaseSteps(): readonly ReleaseStep[] {
  const document = readFileSync(join(import.meta.dirname, '../docs/releasing.md'), 'utf8');
  return [...document.matchAll(/^## (\d+)\. (.+)\n([\s\S]*?)(?=^## |$(?![\s\S]))/gm)].map(
    ([, number, title, text], index) => {
      if (Number(number) !== index + 1) throw new Error(`docs/releasing.md: step ${number} follows step ${index}`);
      const commands = [...(text ?? '').matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, lines]) => lines).join('');
      return { number: index + 1, title: title ?? '', text: (text ?? '').trim(), commands };
    },
  );
}
