/**
 * Control characters including C1, line and paragraph separators, and direction controls: in a line of a terminal or a
 * log they can forge other lines, hide text, or control the terminal.
 */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const RUN = new RegExp(`${UNPRINTABLE.source}+`, 'gu');
const LINE_FEED = '\n';

/** Returns one line that is safe to print: texts come from sidecars, from KMS, and from impostors. */
export function printable(text: string): string {
  return text.replace(RUN, ' ');
}

/** Returns JSON that is safe to print and has the same value. JSON.stringify itself escapes up to U+001F only. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(UNPRINTABLE, (character) =>
    // Line feeds between members stay; those in texts are escaped already.
    character === LINE_FEED ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
