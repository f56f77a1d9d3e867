/**
 * A KMS that needs little CPU time: it answers a repeated Decrypt from the first answer of the embedded KMS, after the
 * latency and without verifying the signature. Other requests are passed on.
 */
import { createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface ReplayingKms {
  readonly url: string;
  /** Milliseconds before a repeated answer. */
  latencyMs: number;
  /** The number of repeated answers. */
  readonly replayed: () => number;
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
  const replaying = { url: '', latencyMs: 0, replayed: () => replayed };
  const server = createServer((client) => {
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
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  replaying.url = `http://127.0.0.1:${address.port}`;
  return replaying;
}
