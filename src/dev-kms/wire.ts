import type { Answer } from './call.ts';
import { KmsFault } from './kms-fault.ts';

/** An answer in AWS's JSON 1.1 protocol, ready to send. */
export interface WireAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

const CONTENT_TYPE = 'application/x-amz-json-1.1';

export function wireAnswer(answer: Answer): WireAnswer {
  const text = answer === undefined ? '' : JSON.stringify(withBase64(answer));
  return { status: 200, contentType: CONTENT_TYPE, body: Buffer.from(text) };
}

/** An error without a message has no member `message`, as at AWS. */
export function wireFault(fault: KmsFault): WireAnswer {
  const text = JSON.stringify({ __type: fault.name, ...(fault.message === '' ? {} : { message: fault.message }) });
  return { status: fault.status, contentType: CONTENT_TYPE, body: Buffer.from(text) };
}

/** The answer of a proxy whose upstream is gone. */
export const BAD_GATEWAY: WireAnswer = {
  status: 502,
  contentType: 'text/html',
  body: Buffer.from(
    '<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n',
  ),
};

/**
 * The operation of an `X-Amz-Target` header.
 * @throws KmsFault UnknownOperationException
 */
export function operationOf(target: string | undefined): string {
  const match = /^TrentService\.([A-Za-z0-9]+)$/.exec(target ?? '');
  if (match?.[1] === undefined) throw new KmsFault('UnknownOperationException', '');
  return match[1];
}

/** @throws KmsFault SerializationException */
export function parseInput(body: Uint8Array): unknown {
  try {
    const input: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    return input;
  } catch {
    throw new KmsFault('SerializationException', 'the request is not JSON in UTF-8');
  }
}

function withBase64(answer: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(answer).map(([name, value]) => [
      name,
      value instanceof Uint8Array
        ? Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')
        : value,
    ]),
  );
}
