/** The part of /etc/default/mariadb that `init` writes. The rest of that shell file is the administrator's. */

/** The marks that enclose the block, each a line. */
export const BEGIN = '# mariadb-aws-kms init: begin';
export const END = '# mariadb-aws-kms init: end';
const BLOCK = new RegExp(`^${BEGIN}$[^]*?^${END}$\\n?`, 'm');
const EXPORT = /^export (\w+)=([\w./+@:,-]*)$/gm;

/** @param comment one line, without `# ` */
export function initBlock(comment: string, variables: readonly (readonly [string, string])[]): string {
  const lines = variables.map(([name, value]) => `export ${name}=${value}`);
  return [BEGIN, `# ${comment}`, ...lines, END, ''].join('\n');
}

/** Returns the block in the text of the file, with its end of line; undefined: there is none. */
export function blockIn(text: string): string | undefined {
  return BLOCK.exec(text)?.[0];
}

export function withoutBlock(text: string): string {
  return text.replace(BLOCK, '');
}

/** Returns what the block gives the server. */
export function variablesOfBlock(text: string): readonly (readonly [string, string])[] {
  const block = blockIn(text) ?? '';
  return [...block.matchAll(EXPORT)].map(([, name = '', value = '']) => [name, value]);
}
