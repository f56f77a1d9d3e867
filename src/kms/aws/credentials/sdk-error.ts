/** Facts from errors of the SDK's credential providers. */

export function isProviderError(error: Error): boolean {
  return 'tryNextLink' in error;
}

export function isFileError(error: Error): boolean {
  return 'syscall' in error && (error.syscall === 'open' || error.syscall === 'read') && 'errno' in error;
}

/**
 * The path with a blank after it; empty if unknown: Node names the path when it cannot open a file, not when it cannot
 * read one.
 */
export function pathOf(error: Error): string {
  return 'path' in error && typeof error.path === 'string' ? `${error.path} ` : '';
}

export function isNetworkText(text: string): boolean {
  return /\bE(?:CONN\w+|TIMEDOUT|HOST\w+|NET\w+|NOTFOUND|AI_AGAIN|PIPE|PROTO)\b|TimeoutError|socket hang up|CERT/.test(
    text,
  );
}
