const LONGEST = 300;
const SHORTEST_SECRET = 16;
const HIDDEN = '(hidden)';

/**
 * The last line that a credential process wrote to its standard error, without possible secrets: its arguments, and
 * long words that look like keys.
 * @param command its command line
 * @param text the SDK's error, which begins with the command line
 */
export function wordsOfProcess(command: string, text: string): string {
  const prefix = `Command failed: ${command}`;
  if (!text.startsWith(prefix)) return '';
  const said = text
    .slice(prefix.length)
    .split('\n')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out
    .map((line) => line.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim())
    .filter((line) => line !== '')
    .at(-1);
  if (said === undefined) return '';
  let shown = said;
  for (const word of secretArguments(command)) shown = shown.replaceAll(word, HIDDEN);
  shown = shown.replace(/[A-Za-z0-9+/=_~-]+/g, (word) => (looksSecret(word) ? HIDDEN : word));
  return shown.length <= LONGEST ? shown : shown.slice(0, LONGEST).replace(/\S*$/, '…');
}

/** Arguments that may be secret: options, paths and plain words are not, but the value of `--password` is. */
function secretArguments(command: string): readonly string[] {
  const [, ...words] = command.split(/\s+/).map((word) => word.replace(/^["']|["']$/g, ''));
  return words.flatMap((word, index) => {
    const [, name = words[index - 1] ?? '', value = word] = /^(-[\w-]+)=(.*)$/.exec(word) ?? [];
    const isOfSecret = /^-.*(?:pass|secret|token|pin|key)/i.test(name) && !value.startsWith('-');
    const isPlain = /^(?:[A-Za-z-]+|[~.]*\/.*)$/.test(value);
    return value.length > 3 && (isOfSecret || !isPlain) ? [value] : [];
  });
}

/** A path is secret if one of its parts is. */
function looksSecret(word: string): boolean {
  if (word.startsWith('/')) return word.split('/').some(looksSecret);
  return word.length >= SHORTEST_SECRET && /\d/.test(word);
}
