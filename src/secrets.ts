import { parseUrl } from './url.ts';

const HIDDEN = '(hidden)';
/** The shortest secret: hiding shorter ones would spoil texts and protect nothing. An MFA code has six characters. */
const SHORTEST = 6;
/**
 * The most secrets to remember: credentials are renewed for as long as the process lives, and old ones do not come
 * back.
 */
const MOST = 100;

/** Longer texts are cut, because an impostor of KMS controls how much there is to search. */
const LONGEST_TEXT = 65_536;

/**
 * The credentials that this process has seen, to keep them out of its texts: an error of KMS, STS, a proxy or an
 * impostor may repeat a request's content.
 */
export class Secrets {
  readonly #forms = new Map<string, readonly Form[]>();
  /** All secrets, the longest first; undefined after an addition. */
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

  /** Adds the secrets that the AWS SDK and Node.js read from the environment. */
  addEnvironment(environment: NodeJS.ProcessEnv): void {
    for (const [name, value] of Object.entries(environment)) {
      if (/^AWS_(?:\w*SECRET\w*|\w*TOKEN|CONTAINER_CREDENTIALS_RELATIVE_URI)$/.test(name)) this.add(value);
      // In ECS the path alone authorises the request.
      else if (name === 'AWS_CONTAINER_CREDENTIALS_FULL_URI') this.add(parseUrl(value ?? '')?.pathname);
      else if (/_proxy$/i.test(name)) this.#addProxy(value ?? '');
    }
  }

  /**
   * Returns the text without secrets, whether plain or encoded as JSON, URL, hex or base64. The time is linear in the
   * length of the text.
   */
  redact(text: string): string {
    this.#longestFirst ??= [...this.#forms.values()].flat().sort((a, b) => b.text.length - a.text.length);
    const isCut = text.length > LONGEST_TEXT;
    let redacted = withoutPlaces(isCut ? wholeWords(text.slice(0, LONGEST_TEXT)) : text);
    for (const { text: form, isBase64 } of this.#longestFirst) {
      redacted = isBase64 ? hideRuns(redacted, form) : redacted.replaceAll(form, HIDDEN);
    }
    // The end may contain the beginning of an unrecognised secret that includes blanks.
    return isCut ? `${redacted.slice(0, -(this.#longestFirst[0]?.text.length ?? 0) || undefined)}…` : redacted;
  }

  #addProxy(text: string): void {
    // HOST:PORT means http://HOST:PORT.
    const { username = '', password = '' } = parseUrl(text.includes('://') ? text : `http://${text}`) ?? {};
    if (password === '') return;
    // The encodings of the Proxy-Authorization header.
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

/** One encoding of a secret. */
interface Form {
  readonly text: string;
  /** True: adjacent characters belong to the secret, too, because they depend on its remaining bits. */
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

/** The characters that depend on the bytes alone, when these begin `offset` bytes after a multiple of three. */
function base64Inside(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return text.slice(Math.ceil((offset * 4) / 3), Math.floor(((offset + bytes.length) * 4) / 3));
}

/** Characters of base64 and base64url, also percent-encoded. */
const BASE64_CHARACTER = /[\w+/%-]/;
const BASE64_REST = /[\w+/=%-]/;

/** Hides the whole runs of base64 that contain the form, with their padding. */
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

/** Removes a last word that may be incomplete. */
function wholeWords(text: string): string {
  let end = text.length;
  while (end > 0 && /\S/.test(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

/** Hides values that are secret by their position. */
function withoutPlaces(text: string): string {
  // AWS's error texts quote the Authorization header.
  const unsigned = text.replace(/\bSignature=[0-9a-f]{16,}/g, `Signature=${HIDDEN}`);
  return withoutQuotes(unsigned.includes('://') ? withoutUsers(unsigned) : unsigned);
}

/** Hides a URL's user and password: Node.js quotes a proxy's URL that it cannot read. */
function withoutUsers(text: string): string {
  return text.replace(/\S+/g, (word) => {
    const [from, to] = [word.indexOf('://'), word.lastIndexOf('@')];
    return from < 0 || to < from + 3 ? word : `${word.slice(0, from)}://${HIDDEN}${word.slice(to)}`;
  });
}

const QUOTE = "Unexpected token '";
const QUOTE_MIDDLE = "', ";
const QUOTE_END = ' is not valid JSON';

/**
 * Hides the piece that JSON.parse quotes of text that it cannot read. The end is missing when a message was cut to its
 * first line.
 */
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
