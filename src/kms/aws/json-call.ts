import { wipe } from '../../bytes.ts';
import type { Clock } from '../../clock.ts';
import { onAbort } from '../../on-abort.ts';
import { type HttpAnswer, TimeoutError, type Transport } from './http/transport.ts';

/** The metadata of an answer or error that `readMetadata` reads. */
export interface Metadata {
  readonly httpStatusCode: number;
  readonly requestId: string | undefined;
}

export interface JsonAnswer {
  readonly members: Readonly<Record<string, unknown>>;
  readonly metadata: Metadata;
}

export interface JsonCallOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Milliseconds until the connection is open. */
  readonly connectTimeoutMs: number;
  /** Milliseconds until the answer is complete. */
  readonly requestTimeoutMs: number;
}

/**
 * Parses an answer of an AWS service in its JSON 1.1 protocol
 * (https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html), and wipes the body. Its errors have the properties
 * of the SDK's that `classifyKmsFailure` reads.
 */
export function readJson(answer: HttpAnswer): JsonAnswer {
  try {
    return read(answer);
  } finally {
    // The body may contain a data key.
    wipe(answer.body);
  }
}

function read({ status, headers, body }: HttpAnswer): JsonAnswer {
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

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function requestIdOf(headers: HttpAnswer['headers']): string | undefined {
  const id = headers['x-amzn-requestid'] ?? headers['x-amzn-request-id'] ?? headers['x-amz-request-id'];
  return typeof id === 'string' ? id : undefined;
}

/** The error name without namespace and URI, which some services send. */
function errorName(headers: HttpAnswer['headers'], members: Readonly<Record<string, unknown>>): string {
  const given = [headers['x-amzn-errortype'], members['__type'], members['code']];
  const text = given.find((value) => typeof value === 'string' && value !== '');
  const [name = ''] = String(text ?? '').split(/[:,]/);
  return name.slice(name.indexOf('#') + 1) || 'UnknownError';
}

function errorText(members: Readonly<Record<string, unknown>>): string {
  const text = members['message'] ?? members['Message'];
  return typeof text === 'string' ? text : '';
}

/** Sends one request and returns any answer. The caller wipes its body. */
export function exchange(
  { transport, clock, connectTimeoutMs, requestTimeoutMs }: JsonCallOptions,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const giveUp = transport.post({ headers, body, connectTimeoutMs }, (outcome) => {
      stopTimer();
      release();
      if ('answer' in outcome) resolve(outcome.answer);
      else reject(outcome.error);
    });
    const release = onAbort(signal, () => giveUp(signal.reason));
    const stopTimer = clock.after(requestTimeoutMs, () =>
      giveUp(new TimeoutError(`no answer within ${requestTimeoutMs} ms`)),
    );
  });
}
