import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { cleanUp } from '../scratch.ts';
import type { Issuer } from './issuer.ts';
import { json, type Reply } from './loopback.ts';
import { stsError } from './sts.ts';

export type EchoMode =
  /** Passes every request on. */
  | 'off'
  | 'refuse'
  | 'expired'
  /** An error whose name and request id are secrets. */
  | 'hostile name'
  /** Status 200 with an unreadable body. */
  | 'garbage';

export interface Echo {
  readonly url: string;
  /** The mode until it is changed, or until `times` answers were given in it. */
  mode: EchoMode;
  times: number;
  /** How many answers were given in place of the service's. */
  answered: number;
  /** Signatures of all requests that were passed on. */
  readonly signatures: Set<string>;
}

type Speaks = 'KMS' | 'STS' | 'SSO' | 'metadata';

/** A proxy before a service that can answer in its place with errors that repeat all secrets. */
export async function startEcho(target: string, speaks: Speaks, issuer: Issuer): Promise<Echo> {
  const server = createServer((incoming, outgoing) => void handle(incoming, outgoing));
  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const body = await buffer(incoming);
    const { authorization = '' } = incoming.headers;
    const signature = /Signature=(\w+)/.exec(authorization)?.[1];
    if (signature !== undefined) echo.signatures.add(signature);
    if (echo.mode === 'off' || echo.times === 0) {
      forward(target, incoming, body, outgoing);
      return;
    }
    echo.times -= 1;
    echo.answered += 1;
    const secrets = echo.mode === 'garbage' || speaks === 'metadata' ? issuer.secrets : sentWith(incoming, issuer);
    const heard = Object.entries(incoming.headers).map((header) => header.join(': '));
    const text = [...secrets.flatMap(allForms), ...heard, body.toString('latin1')].join(' ');
    const [newest = 'nothing'] = secrets.slice(-1);
    const reply = answer(speaks, echo.mode, newest, text);
    const requestId = echo.mode === 'hostile name' ? newest : 'request-of-echo';
    outgoing.writeHead(reply.status, { 'Content-Type': reply.contentType, 'x-amzn-RequestId': requestId });
    outgoing.end(reply.body);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const echo: Echo = {
    url: `http://127.0.0.1:${port}`,
    mode: 'off',
    times: Number.POSITIVE_INFINITY,
    answered: 0,
    signatures: new Set(),
  };
  return echo;
}

/** The secrets that AWS knows from the sender of this request. */
function sentWith({ headers }: IncomingMessage, issuer: Issuer): readonly string[] {
  const signedBy = /Credential=(\w+)\//.exec(headers.authorization ?? '')?.[1];
  const key = issuer.accessKeys.find(({ accessKeyId }) => accessKeyId === signedBy);
  const sent = [key?.secretAccessKey, key?.sessionToken, headers['x-amz-sso_bearer_token']];
  return sent.filter((secret) => typeof secret === 'string');
}

function allForms(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  return [secret, bytes.toString('base64'), Buffer.from(`x${secret}`).toString('base64url'), bytes.toString('hex')];
}

function answer(speaks: Speaks, mode: EchoMode, secret: string, text: string): Reply {
  if (mode === 'garbage') return { status: 200, body: `${secret} ${text}`, contentType: 'application/json' };
  const name = mode === 'hostile name' ? `X${secret}` : mode === 'expired' ? 'ExpiredTokenException' : 'AccessDenied';
  switch (speaks) {
    case 'KMS':
      return json({ __type: name === 'AccessDenied' ? 'AccessDeniedException' : name, message: text }, 400);
    case 'STS':
      return stsError(name, text.replaceAll('&', '&amp;').replaceAll('<', '&lt;'), 403);
    case 'SSO':
      return json({ __type: name === 'AccessDenied' ? 'ForbiddenException' : name, message: text }, 403);
    case 'metadata':
      return json({ Code: name, Message: text }, 403);
  }
}

function forward(target: string, incoming: IncomingMessage, body: Buffer, outgoing: ServerResponse): void {
  // A client that uses this service as a proxy sends the whole URL.
  const { pathname, search } = new URL(incoming.url ?? '/', target);
  const { method, headers } = incoming;
  const onward = httpRequest(new URL(target), { method, headers, path: pathname + search }, (reply) => {
    outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
    reply.pipe(outgoing);
  });
  onward.on('error', () => outgoing.destroy());
  onward.end(body);
}
