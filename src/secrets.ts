const HIDDEN = '(hidden)';
/** Hiding less would spoil texts and protect nothing. The code of a multi-factor device has so many characters. */
const SHORTEST = 6;
/** Credentials are renewed for as long as the process lives; nobody sends old ones back. */
const MOST = 100;

/** Longer texts are cut: whoever took the place of KMS decides how much there is to search. */
const LONGEST_TEXT = 65_536;

/**
 * The credentials that this process has seen, to keep them out of its texts: what KMS, STS, a proxy or whoever took
 * their place says in an error may hold what was sent there.
 */
export class Secrets {
  readonly #forms = new Map<string, readonly Form[]>();
  /** All of them, the longest first; undefined since one was added. */
  #longestFirst: readonly Form[] | undefined;

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

  /**
   * The text without any of them, whole or as JSON, URLs, hex and base64 write them. The time it takes grows with the length
   * of the text and not faster.
   */
  redact(text: string): string {
    this.#longestFirst ??= [...this.#forms.values()].flat().sort((a, b) => b.text.length - a.text.length);
    const isCut = text.length > LONGEST_TEXT;
    let redacted = withoutPlaces(isCut ? wholeWords(text.slice(0, LONGEST_TEXT)) : text);
    for (const { text: form, isBase64 } of this.#longestFirst) {
      redacted = isBase64 ? hideRuns(redacted, form) : redacted.replaceAll(form, HIDDEN);
    }
    // The end may hold the beginning of a secret with blanks in it, which nothing has recognised.
    return isCut ? `${redacted.slice(0, -(this.#longestFirst[0]?.text.length ?? 0) || undefined)}…` : redacted;
  }

  #addProxy(text: string): void {
    // HOST:PORT means http://HOST:PORT.
    const { username = '', password = '' } = URL.parse(text.includes('://') ? text : `http://${text}`) ?? {};
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

/** One way to write a secret. */
interface Form {
  readonly text: string;
  /** Its neighbours are of the same secret, too: they depend on the bits that do not fill a character. */
  readonly isBase64: boolean;
}

function formsOf(value: string): readonly Form[] {
  const bytes = Buffer.from(value);
  const hex = bytes.toString('hex');
  const json = JSON.stringify(value).slice(1, -1);
  const base64 = [0, 1, 2].map((offset) => base64Inside(bytes, offset));
  const base64url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  return [
    ...[...new Set([value, json, encodeURIComponent(value), hex, hex.toUpperCase()])].map((text) => ({
      text,
      isBase64: false,
    })),
    ...[...new Set([...base64, ...base64url, ...base64.map(encodeURIComponent)])].map((text) => ({
      text,
      isBase64: true,
    })),
  ];
}

/** The characters that the bytes alone decide, when they begin `offset` bytes after a multiple of three. */
function base64Inside(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return text.slice(Math.ceil((offset * 4) / 3), Math.floor(((offset + bytes.length) * 4) / 3));
}

/** Of base64, base64url, and of both in URLs. */
const BASE64_CHARACTER = /[\w+/%-]/;
const BASE64_REST = /[\w+/=%-]/;

/** Hides the whole runs of base64 that hold the form, with their padding. */
function hideRuns(text: string, form: string): string {
  let [hidden, done] = ['', 0];
  for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, done)) {
    let [from, to] = [at, at + form.length];
    while (from > done && BASE64_CHARACTER.test(text.charAt(from - 1))) from -= 1;
    while (to < text.length && BASE64_REST.test(text.charAt(to))) to += 1;
    hidden += text.slice(done, from) + HIDDEN;
    done = to;
  }
  return hidden + text.slice(done);
}

/** Without a word at the end that may be half of one. */
function wholeWords(text: string): string {
  let end = text.length;
  while (end > 0 && /\S/.test(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

/** What is secret by the place where it stands. */
function withoutPlaces(text: string): string {
  return withoutQuotes(
    text
      // AWS's error texts quote the Authorization header.
      .replace(/\bSignature=[0-9a-f]{16,}/g, `Signature=${HIDDEN}`)
      // User and password of a URL: Node.js quotes a proxy's when it cannot read it.
      .replace(/\S+/g, (word) => {
        const [from, to] = [word.indexOf('://'), word.lastIndexOf('@')];
        return from < 0 || to < from + 3 ? word : `${word.slice(0, from)}://${HIDDEN}${word.slice(to)}`;
      }),
  );
}

const QUOTE = "Unexpected token '";
const QUOTE_MIDDLE = "', ";
const QUOTE_END = ' is not valid JSON';

/** JSON.parse quotes a piece of what it cannot read. The end is missing when a message was cut to its first line. */
function withoutQuotes(text: string): string {
  let [kept, done] = ['', 0];
  for (let at = text.indexOf(QUOTE); at >= 0; at = text.indexOf(QUOTE, done)) {
    const middle = text.indexOf(QUOTE_MIDDLE, at + QUOTE.length);
    if (middle < 0) break;
    const end = text.indexOf(QUOTE_END, middle + QUOTE_MIDDLE.length);
    kept += `${text.slice(done, at)}no valid JSON`;
    done = end < 0 ? text.length : end + QUOTE_END.length;
  }
  return kept + text.slice(done);
}
