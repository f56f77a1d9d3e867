import { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler';
import type { Secrets } from '../../secrets.ts';
import { httpDate } from '../failures/http-date.ts';
import type { ProxyGate } from './proxy-gate.ts';

const SECRET_HEADERS = ['x-amz-security-token', 'x-amz-sso_bearer_token'];
/** Secret parameters of STS requests. */
const SECRET_PARAMETERS = ['WebIdentityToken', 'TokenCode'];

type Handle = NodeHttpHandler['handle'];

/**
 * An HTTP handler that records the secrets of each request, because answers may quote them, and uses no proxy that has
 * just refused. It removes an impossible Date from an answer: the SDK would set its clock by it, and could sign nothing
 * from then on.
 */
export class RecordingHandler extends NodeHttpHandler {
  readonly #secrets: Secrets;
  readonly #gate: ProxyGate | undefined;

  constructor(options: NodeHttpHandlerOptions, secrets: Secrets, gate: ProxyGate | undefined) {
    super(options);
    this.#secrets = secrets;
    this.#gate = gate;
  }

  override async handle(...[request, options]: Parameters<Handle>): ReturnType<Handle> {
    for (const [name, value] of Object.entries(request.headers)) {
      if (SECRET_HEADERS.includes(name.toLowerCase())) this.#secrets.add(value);
    }
    if (typeof request.body === 'string') {
      const parameters = new URLSearchParams(request.body);
      for (const name of SECRET_PARAMETERS) this.#secrets.add(parameters.get(name) ?? undefined);
    }
    const leave = await this.#gate?.enter();
    const answer = await super.handle(request, options).catch((error: unknown) => {
      leave?.({ error });
      throw error;
    });
    const refusal = leave?.({ status: answer.response.statusCode });
    if (refusal !== undefined) throw refusal;
    const { headers } = answer.response;
    for (const [name, value] of Object.entries(headers)) {
      if (name.toLowerCase() === 'date' && httpDate(value) === undefined) delete headers[name];
    }
    return answer;
  }
}
