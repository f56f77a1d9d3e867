import type { ClientRequest, Agent as HttpAgent, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request as httpRequest } from 'node:http';
import type { Agent as HttpsAgent } from 'node:https';
import { request as httpsRequest } from 'node:https';
import { wipe } from '../bytes.ts';

/** What `readMetadata` reads, of an answer or of an error. */
export interface Metadata {
  readonly httpStatusCode: number;
  readonly requestId: string | undefined;
}

export interface JsonAnswer {
  readonly members: Readonly<Record<string, unknown>>;
  readonly metadata: Metadata;
}

export interface JsonCallOptions {
  readonly url: URL;
  readonly agents: { readonly http: HttpAgent; readonly https: HttpsAgent };
  /** Milliseconds until the connection is there. */
  readonly connectTimeoutMs: number;
  /** Milliseconds until the whole answer is there. */
  readonly requestTimeoutMs: number;
}

/** No answer of KMS comes near it; who sends more is somebody else, and may go on for as long as we listen. */
const MOST_BYTES = 262_144;

interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * One call of an AWS service in its JSON 1.1 protocol (https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html).
 * Throws what the SDK throws, as far as `classifyKmsFailure` looks at it.
 */
export async function callJson(
  options: JsonCallOptions,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
  onDate: (text: string) => void,
): Promise<JsonAnswer> {
  const answer = await exchange(options, headers, body, signal);
  try {
    return read(answer, onDate);
  } finally {
    // A data key may be in it.
    wipe(answer.body);
  }
}

function read({ status, headers, body }: Received, onDate: (text: string) => void): JsonAnswer {
  // What a cache kept tells no time.
  if (headers.date !== undefined && headers.age === undefined) onDate(headers.date);
  const metadata = { httpStatusCode: status, requestId: requestIdOf(headers) };
  const context = { $metadata: metadata, $response: { statusCode: status, headers } };
  let members: unknown;
  try {
    members = body.length === 0 ? {} : JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw Object.assign(error instanceof Error ? error : new Error('no JSON'), context);
  }
  const record = isRecord(members) ? members : {};
  if (status < 300) return { members: record, metadata };
  throw Object.assign(new AwsError(errorName(headers, record), errorText(record)), context);
}

class AwsError extends Error {
  override readonly name: string;

  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function requestIdOf(headers: IncomingHttpHeaders): string | undefined {
  const id = headers['x-amzn-requestid'] ?? headers['x-amzn-request-id'] ?? headers['x-amz-request-id'];
  return typeof id === 'string' ? id : undefined;
}

/** Without the namespace before it and the URI after it, which some services send. */
function errorName(headers: IncomingHttpHeaders, members: Readonly<Record<string, unknown>>): string {
  const given = [headers['x-amzn-errortype'], members['__type'], members['code']];
  const text = given.find((value) => typeof value === 'string' && value !== '');
  const [name = ''] = String(text ?? '').split(/[:,]/);
  return name.slice(name.indexOf('#') + 1) || 'UnknownError';
}

function errorText(members: Readonly<Record<string, unknown>>): string {
  const text = members['message'] ?? members['Message'];
  return typeof text === 'string' ? text : '';
}

async function exchange(
  { url, agents, connectTimeoutMs, requestTimeoutMs }: JsonCallOptions,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
): Promise<Received> {
  const options = { method: 'POST', headers, path: url.pathname, host: bare(url.hostname), port: url.port };
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const answered = (answer: IncomingMessage): void => {
      let size = 0;
      const end = (): void => {
        settle();
        const [first] = chunks;
        const whole = first !== undefined && chunks.length === 1 ? first : joined(chunks);
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: whole });
      };
      answer.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        // Cut short, it is no JSON: that says what there is to say of it.
        if (size <= MOST_BYTES) return;
        end();
        request.destroy();
      });
      answer.on('error', fail);
      answer.on('end', end);
    };
    const request: ClientRequest =
      url.protocol === 'https:'
        ? httpsRequest({ ...options, agent: agents.https }, answered)
        : httpRequest({ ...options, agent: agents.http }, answered);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const fail = (error: unknown): void => {
      settle();
      // Of half an answer, too, a data key may be a part.
      for (const chunk of chunks) wipe(chunk);
      reject(error);
    };
    const giveUp = (error: unknown): void => {
      fail(error);
      request.destroy();
    };
    const abort = (): void => giveUp(signal.reason);
    const timer = setTimeout(
      () => giveUp(new TimeoutError(`no answer within ${requestTimeoutMs} ms`)),
      requestTimeoutMs,
    );
    request.on('error', fail);
    request.on('socket', (socket) => {
      if (!socket.connecting) return;
      const connecting = setTimeout(
        () => giveUp(new TimeoutError(`no connection within ${connectTimeoutMs} ms`)),
        connectTimeoutMs,
      );
      const stop = (): void => clearTimeout(connecting);
      socket.once('connect', stop);
      socket.once('close', stop);
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
    request.end(body);
  });
}

/** One buffer to wipe. */
function joined(chunks: readonly Buffer[]): Buffer {
  const whole = Buffer.concat(chunks);
  for (const chunk of chunks) wipe(chunk);
  return whole;
}

/** Of an IPv6 address, which a URL has in brackets. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
