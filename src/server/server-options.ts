/**
 * Options of the server as my_print_defaults prints them: `--name=value` a line, quotes and escapes already undone.
 * Dashes and underscores are the same, a later one replaces an earlier one, `loose_` forgives unknown names, `skip_` and
 * `disable_` are OFF, an option without a value is ON.
 */
export class ServerOptions {
  readonly #entries: readonly Entry[];

  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  last(name: string): string | undefined {
    return this.#entries.findLast((entry) => entry.name === name)?.value;
  }

  all(name: string): readonly string[] {
    return this.#entries.filter((entry) => entry.name === name).map(({ value }) => value);
  }

  /** All values of these options in the order in which the server reads them. */
  inOrder(names: readonly string[]): readonly { readonly name: string; readonly value: string }[] {
    return this.#entries.filter(({ name }) => names.includes(name));
  }

  /** The value of a switch; undefined for a value that is no switch. */
  isOn(name: string, otherwise: boolean): boolean | undefined {
    const value = this.last(name);
    return value === undefined ? otherwise : parseSwitch(value);
  }

  /** The value of a number; undefined for a value that is no number. */
  number(name: string, otherwise: number): number | undefined {
    const value = this.last(name);
    if (value === undefined) return otherwise;
    return /^\d+$/.test(value) ? Number(value) : undefined;
  }

  /** All values of the options whose names begin so. */
  startingWith(prefix: string): readonly { readonly name: string; readonly value: string }[] {
    return this.#entries.filter(({ name }) => name.startsWith(prefix));
  }

  /** Options whose unknown names make the server refuse to start. */
  strict(prefix: string): readonly string[] {
    const names = this.#entries.filter(({ name, isLoose }) => !isLoose && name.startsWith(prefix));
    return [...new Set(names.map(({ name }) => name))];
  }

  get size(): number {
    return this.#entries.length;
  }
}

export interface Entry {
  readonly name: string;
  readonly value: string;
  readonly isLoose: boolean;
}

export function parseSwitch(text: string): boolean | undefined {
  if (/^(?:1|on|true|yes)$/i.test(text)) return true;
  return /^(?:0|off|false|no)$/i.test(text) ? false : undefined;
}

/** @param known full names, to complete options given by a unique prefix, as the server does */
export function parseOptionLines(text: string, known: readonly string[]): readonly Entry[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('--'))
    .map((line) => {
      const at = line.indexOf('=');
      const written = (at < 0 ? line.slice(2) : line.slice(2, at)).replaceAll('-', '_').trim();
      const isLoose = written.startsWith('loose_');
      const plain = isLoose ? written.slice('loose_'.length) : written;
      const [, negation, rest] = /^(?:(skip_|disable_)|enable_)(.+)$/.exec(plain) ?? [];
      const value = negation === undefined ? (at < 0 ? '1' : line.slice(at + 1)) : '0';
      return { name: completeName(rest ?? plain, known), value, isLoose };
    });
}

function completeName(name: string, known: readonly string[]): string {
  if (known.includes(name)) return name;
  const [only, ...more] = known.filter((full) => full.startsWith(name));
  // A shorter prefix may be that of an option that is not in the list.
  return only !== undefined && more.length === 0 && name.startsWith('aws_key_management_') ? only : name;
}
