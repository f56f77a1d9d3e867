/** docs/reference.md: its parts that are generated, in a page that is otherwise written by hand. */
import { statusVariables } from './reference/status-variables.ts';
import { systemVariables } from './reference/system-variables.ts';

const PARTS: Readonly<Record<string, () => string>> = {
  'system variables': systemVariables,
  'status variables': statusVariables,
};

/**
 * Returns the page with its generated parts made anew.
 * @param page the page as it is: each generated part stands between two comments that name it
 * @throws Error if a part has no place in the page
 */
export function referenceDocument(page: string): string {
  return Object.entries(PARTS).reduce((text, [name, make]) => {
    const [before, part, after, ...more] = text.split(new RegExp(`^<!-- (?:begin|end) of generated ${name} -->$`, 'm'));
    if (before === undefined || part === undefined || after === undefined || more.length > 0)
      throw new Error(`docs/reference.md has not one place for its ${name}`);
    const comment = (end: string): string => `<!-- ${end} of generated ${name} -->`;
    return `${before}${comment('begin')}\n\n${make()}\n\n${comment('end')}${after}`;
  }, page);
}
