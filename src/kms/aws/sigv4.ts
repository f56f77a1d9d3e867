import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface SigningScope {
  readonly region: string;
  readonly service: string;
  /** The percent-encoded path, as sent. */
  readonly path: string;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';

/** The part of a signed request that is the same for all bodies within a second. */
interface Form {
  readonly key: KeyObject;
  readonly headers: Readonly<Record<string, string>>;
  /** The canonical request, up to the hash of the body. */
  readonly canonical: string;
  /** The string to sign, up to the hash of the canonical request. */
  readonly toSign: string;
  /** The Authorization header, up to the signature. */
  readonly authorization: string;
}

/**
 * Signs POST requests (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html). The
 * SDK's signer costs many times as much without a JIT compiler.
 */
export class RequestSigner {
  readonly #scope: SigningScope;
  readonly #accessKey: AccessKey;
  readonly #path: string;
  #day = '';
  #signingKey: KeyObject | undefined;
  /** Forms of the current second: a start makes thousands of calls in one. */
  readonly #forms = new Map<Readonly<Record<string, string>>, Form>();
  #second = Number.NaN;

  constructor(scope: SigningScope, accessKey: AccessKey) {
    this.#scope = scope;
    this.#accessKey = accessKey;
    this.#path = canonicalPath(scope.path);
  }

  /**
   * @param headers names in lower case, including `host`; the same object again costs less
   * @returns these headers and the signature's
   */
  sign(headers: Readonly<Record<string, string>>, body: string, wallMs: number): Record<string, string> {
    const second = Math.floor(wallMs / 1000);
    if (second !== this.#second) this.#forms.clear();
    this.#second = second;
    const form = this.#forms.get(headers) ?? this.#formOf(headers, wallMs);
    this.#forms.set(headers, form);
    const canonical = sha256(form.canonical + sha256(body));
    const signature = hmac(form.key, form.toSign + canonical).toString('hex');
    return { ...form.headers, authorization: form.authorization + signature };
  }

  #formOf(headers: Readonly<Record<string, string>>, wallMs: number): Form {
    const { accessKeyId, sessionToken } = this.#accessKey;
    const time = new Date(wallMs).toISOString().replace(/[-:]|\.\d{3}/g, '');
    const day = time.slice(0, 8);
    const signed: Record<string, string> = {
      ...headers,
      'x-amz-date': time,
      ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
    };
    const names = Object.keys(signed).sort();
    const list = names.join(';');
    const values = names.map((name) => `${name}:${canonicalValue(signed[name] ?? '')}\n`).join('');
    const scope = `${day}/${this.#scope.region}/${this.#scope.service}/aws4_request`;
    return {
      key: this.#keyOf(day),
      headers: signed,
      canonical: `POST\n${this.#path}\n\n${values}\n${list}\n`,
      toSign: `${ALGORITHM}\n${time}\n${scope}\n`,
      authorization: `${ALGORITHM} Credential=${accessKeyId}/${scope}, SignedHeaders=${list}, Signature=`,
    };
  }

  #keyOf(day: string): KeyObject {
    if (this.#signingKey === undefined || day !== this.#day) {
      const { region, service } = this.#scope;
      const secret: Buffer = Buffer.from(`AWS4${this.#accessKey.secretAccessKey}`);
      this.#signingKey = createSecretKey([day, region, service, 'aws4_request'].reduce(hmac, secret));
      this.#day = day;
    }
    return this.#signingKey;
  }
}

/** Normalises the path and encodes it once more, as every service except S3 requires. */
function canonicalPath(path: string): string {
  return encodeURIComponent(path.replace(/\/+/g, '/'))
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function canonicalValue(value: string): string {
  return value.trim().replace(/\s+/g, ' ');
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex');
}

function hmac(key: Buffer | KeyObject, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
