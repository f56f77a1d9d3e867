import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { wipe } from '../../../bytes.ts';
import type { Clock } from '../../../clock.ts';
import { keepAliveAgents } from '../agents.ts';
import { type ProxyGate, proxyGateOf } from '../proxy-gate.ts';
import {
  bareHost,
  type HttpOutcome,
  type HttpRequest,
  limitConnecting,
  MOST_ANSWER_BYTES,
  type Transport,
  type TransportOptions,
} from './transport.ts';

/** A transport by Node's own client, which supports proxies. */
export class ProxyTransport implements Transport {
  readonly #url: URL;
  readonly #agents: ReturnType<typeof keepAliveAgents>;
  readonly #gate: ProxyGate | undefined;
  readonly #clock: Clock;

  constructor(url: URL, options: TransportOptions) {
    this.#url = url;
    this.#agents = keepAliveAgents(options);
    this.#gate = proxyGateOf(options.proxyEnvironment, options.clock);
    this.#clock = options.clock;
  }

  post(request: HttpRequest, ended: (outcome: HttpOutcome) => void): (error: unknown) => void {
    if (this.#gate === undefined) return this.#send(request, ended);
    let isGivenUp = false;
    let giveUp = (error: unknown): void => {
      isGivenUp = true;
      ended({ error });
    };
    this.#gate.enter().then(
      (leave) => {
        if (isGivenUp) {
          leave({ error: undefined });
          return;
        }
        try {
          giveUp = this.#send(request, (outcome) => {
            const refusal = leave('answer' in outcome ? { status: outcome.answer.status } : outcome);
            if (refusal !== undefined && 'answer' in outcome) wipe(outcome.answer.body);
            ended(refusal === undefined ? outcome : { error: refusal });
          });
        } catch (error) {
          // Node.js refuses these headers, so nothing was sent.
          leave({ error });
          ended({ error });
        }
      },
      (error: unknown) => {
        if (!isGivenUp) ended({ error });
      },
    );
    return (error) => giveUp(error);
  }

  #send(
    { headers, body, connectTimeoutMs }: HttpRequest,
    ended: (outcome: HttpOutcome) => void,
  ): (error: unknown) => void {
    const { protocol, hostname, port, pathname } = this.#url;
    const options = { method: 'POST', headers, path: pathname, host: bareHost(hostname), port };
    const chunks: Buffer[] = [];
    let isOver = false;
    const fail = (error: unknown): void => {
      if (isOver) return;
      isOver = true;
      // An incomplete answer may contain part of a data key.
      for (const chunk of chunks) wipe(chunk);
      ended({ error });
    };
    const answered = (answer: IncomingMessage): void => {
      let size = 0;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        const body = Buffer.concat(chunks);
        for (const chunk of chunks) wipe(chunk);
        ended({ answer: { status: answer.statusCode ?? 0, headers: answer.headers, body } });
      };
      answer.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        // The body is cut off, so it is no JSON: the reader reports that.
        if (size <= MOST_ANSWER_BYTES) return;
        end();
        request.destroy();
      });
      answer.on('error', fail);
      answer.on('end', end);
    };
    const request: ClientRequest =
      protocol === 'https:'
        ? httpsRequest({ ...options, agent: this.#agents.https }, answered)
        : httpRequest({ ...options, agent: this.#agents.http }, answered);
    const giveUp = (error: unknown): void => {
      fail(error);
      request.destroy();
    };
    request.on('error', fail);
    request.on('socket', (socket) => {
      if (socket.connecting) limitConnecting(socket, connectTimeoutMs, this.#clock, giveUp);
    });
    request.end(body);
    return giveUp;
  }

  close(): void {
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }
}
