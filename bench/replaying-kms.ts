/**
 * A KMS that needs little CPU time: it answers a repeated Decrypt from the first answer of the embedded KMS, after the
 * latency and without verifying the signature. Other requests are passed on.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';

export interface ReplayingKms {
  readonly url: string;
  /** Milliseconds before a repeated answer. */
  latencyMs: number;
  /** The number of repeated answers. */
  readonly replayed: () => number;
  /** Listens for TLS connections as well. */
  listenTls(options: TlsOptions): Promise<string>;
  /** Returns the connections over TLS since the last time. */
  takeConnections(): TlsConnections;
}

export interface TlsOptions {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** The only key exchange that is accepted, by OpenSSL's name. */
  readonly group: string;
}

export interface TlsConnections {
  readonly all: number;
  /** Those that resumed a session. */
  readonly resumed: number;
}

const END_OF_HEAD = '\r\n\r\n';

/** Splits off a message with a Content-Length; undefined: it is incomplete. */
function whole(text: string): { readonly head: string; readonly body: string } | undefined {
  const end = text.indexOf(END_OF_HEAD);
  if (end < 0) return undefined;
  const head = text.slice(0, end + END_OF_HEAD.length);
  const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1]);
  const body = text.slice(head.length);
  return body.length < length ? undefined : { head, body };
}

/** @param kmsPort of the embedded KMS, on loopback */
export async function startReplayingKms(kmsPort: number): Promise<ReplayingKms> {
  const answers = new Map<string, string>();
  let replayed = 0;
  let connections = { all: 0, resumed: 0 };
  const serve = (client: Socket): void => {
    client.setNoDelay(true);
    client.on('error', () => client.destroy());
    let kms: Socket | undefined;
    let [request, answer, body] = ['', '', ''];
    const pass = (text: string): void => {
      if (kms === undefined) {
        kms = createConnection(kmsPort, '127.0.0.1');
        kms.on('error', () => client.destroy());
        kms.on('close', () => client.destroy());
        client.on('close', () => kms?.destroy());
        kms.on('data', (bytes) => {
          answer += bytes.toString('latin1');
          if (whole(answer) === undefined) return;
          if (body !== '' && answer.startsWith('HTTP/1.1 200 ')) answers.set(body, answer);
          client.write(answer, 'latin1');
          answer = '';
        });
      }
      kms.write(text, 'latin1');
    };
    client.on('data', (bytes) => {
      request += bytes.toString('latin1');
      const asked = whole(request);
      if (asked === undefined) return;
      const text = request;
      request = '';
      body = /\r\nx-amz-target: TrentService\.Decrypt\r\n/i.test(asked.head) ? asked.body : '';
      const known = answers.get(body);
      if (known === undefined) return pass(text);
      replayed += 1;
      if (replaying.latencyMs === 0) client.write(known, 'latin1');
      else void delay(replaying.latencyMs).then(() => client.write(known, 'latin1'));
    });
  };
  const replaying: ReplayingKms = {
    url: `http://${await listening(createServer(serve))}`,
    latencyMs: 0,
    replayed: () => replayed,
    listenTls: async ({ certificate, key, group }) => {
      const server = createTlsServer({ cert: certificate, key, ecdhCurve: group }, (client) => {
        connections.all += 1;
        if (client.isSessionReused()) connections.resumed += 1;
        serve(client);
      });
      return `https://${await listening(server)}`;
    },
    takeConnections: () => {
      const taken = connections;
      connections = { all: 0, resumed: 0 };
      return taken;
    },
  };
  return replaying;
}

/** Returns the server's address on loopback, with its port. */
async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `127.0.0.1:${address.port}`;
}
