/**
 * Control characters, C1 among them, line and paragraph separators, and what turns the direction of text: in a line of a
 * terminal or a log they forge other lines, hide a part of one, or command the terminal.
 */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const RUN = new RegExp(`${UNPRINTABLE.source}+`, 'gu');
const LINE_FEED = '\n';

/** One line that is safe to print: texts come from sidecars, from KMS, and from whoever took its place. */
export function printable(text: string): string {
  return text.replace(RUN, ' ');
}

/** JSON that is safe to print and reads as the same value. JSON.stringify itself escapes up to U+001F only. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(UNPRINTABLE, (character) =>
    // Between the members; those of a text are escaped already.
    character === LINE_FEED ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
