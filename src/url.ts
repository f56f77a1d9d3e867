/** `URL.parse`, which Node.js 22.0 lacks. @returns null for text that is no URL */
export function parseUrl(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}
