const HIDDEN = '(hidden)';
/** Hiding less would spoil texts and protect nothing. The code of a multi-factor device has so many characters. */
const SHORTEST = 6;
/** Credentials are renewed for as long as the process lives; nobody sends old ones back. */
const MOST = 100;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // AWS's error texts quote the Authorization header.
  [/\bSignature=[0-9a-f]{16,}/g, `Signature=${HIDDEN}`],
  // User and password of a URL: Node.js quotes a proxy's when it cannot read it.
  [/:\/\/\S*@/g, `://${HIDDEN}@`],
  // JSON.parse quotes a piece of what it cannot read. The end is missing when a message was cut to its first line.
  [/Unexpected token '.*?', .*?(?: is not valid JSON|$)/gs, 'no valid JSON'],
];

/**
 * The credentials that this process has seen, to keep them out of its texts: what KMS, STS, a proxy or whoever took
 * their place says in an error may hold what was sent there.
 */
export class Secrets {
  readonly #forms = new Map<string, readonly string[]>();
  /** All of them, the longest first; undefined since one was added. */
  #longestFirst: readonly string[] | undefined;

  add(...values: readonly (string | undefined)[]): void {
    for (const value of values) {
      if (value === undefined || value.length < SHORTEST) continue;
      const forms = this.#forms.get(value) ?? formsOf(value);
      this.#forms.delete(value);
      this.#forms.set(value, forms);
      this.#longestFirst = undefined;
    }
    for (const oldest of this.#forms.keys()) {
      if (this.#forms.size <= MOST) break;
      this.#forms.delete(oldest);
    }
  }

  /** What the AWS SDK and Node.js find in the environment. */
  addEnvironment(environment: NodeJS.ProcessEnv): void {
    for (const [name, value] of Object.entries(environment)) {
      if (/^AWS_(?:\w*SECRET\w*|\w*TOKEN|CONTAINER_CREDENTIALS_RELATIVE_URI)$/.test(name)) this.add(value);
      // In ECS the path alone entitles to the credentials.
      else if (name === 'AWS_CONTAINER_CREDENTIALS_FULL_URI') this.add(URL.parse(value ?? '')?.pathname);
      else if (/_proxy$/i.test(name)) this.#addProxy(value ?? '');
    }
  }

  /** The text without any of them, whole or as JSON, URLs, hex and base64 write them. */
  redact(text: string): string {
    let redacted = text;
    for (const [pattern, replacement] of PATTERNS) redacted = redacted.replace(pattern, replacement);
    this.#longestFirst ??= [...this.#forms.values()].flat().sort((a, b) => b.length - a.length);
    for (const form of this.#longestFirst) redacted = redacted.replaceAll(form, HIDDEN);
    return redacted;
  }

  #addProxy(text: string): void {
    const { username = '', password = '' } = URL.parse(text) ?? {};
    if (password === '') return;
    // As the Proxy-Authorization header has them.
    this.add(password, decoded(password), `${decoded(username)}:${decoded(password)}`);
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function formsOf(value: string): readonly string[] {
  const bytes = Buffer.from(value);
  const hex = bytes.toString('hex');
  const base64 = [0, 1, 2].map((offset) => base64Inside(bytes, offset));
  const base64url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  const json = JSON.stringify(value).slice(1, -1);
  return [...new Set([value, json, encodeURIComponent(value), hex, hex.toUpperCase(), ...base64, ...base64url])];
}

/** The characters that the bytes alone decide, when they begin `offset` bytes after a multiple of three. */
function base64Inside(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return text.slice(Math.ceil((offset * 4) / 3), Math.floor(((offset + bytes.length) * 4) / 3));
}
