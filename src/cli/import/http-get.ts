import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { wipe } from '../../bytes.ts';
import type { Clock } from '../../clock.ts';
import type { HttpAnswer, HttpGet } from '../../import/vault.ts';
import { within } from '../../kms/retry.ts';

/** Milliseconds for an answer, and its most bytes: the limits of MariaDB's plugin. */
const [ANSWER_MS, ANSWER_BYTES] = [15_000, 131_072];

/**
 * Sends GET requests to one server. Redirects are not followed, because they would get the token.
 * @param ca certificates to trust in place of the public ones
 */
export function httpGet(origin: string, ca: Buffer | undefined, clock: Clock): HttpGet {
  const send = origin.startsWith('https:') ? httpsRequest : httpRequest;
  return async (path, headers) =>
    await within(clock, ANSWER_MS, async (signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
      const options = { headers, signal, ...(ca === undefined ? {} : { ca }) };
      const sent = send(`${origin}${path}`, options, (answer) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ANSWER_BYTES) answer.destroy(new Error(`the answer has more than ${ANSWER_BYTES} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () => {
          const body = Buffer.concat(chunks);
          for (const chunk of chunks) wipe(chunk);
          resolve({ status: answer.statusCode ?? 0, body });
        });
      });
      sent.on('error', reject);
      sent.end();
      return await promise;
    });
}
