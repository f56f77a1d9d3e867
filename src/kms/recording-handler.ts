import { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler';
import type { Secrets } from '../secrets.ts';

const SECRET_HEADERS = ['x-amz-security-token', 'x-amz-sso_bearer_token'];
/** Of STS. */
const SECRET_PARAMETERS = ['WebIdentityToken', 'TokenCode'];

type Handle = NodeHttpHandler['handle'];

/** Remembers the secrets of each request: what answers may quote them. */
export class RecordingHandler extends NodeHttpHandler {
  readonly #secrets: Secrets;

  constructor(options: NodeHttpHandlerOptions, secrets: Secrets) {
    super(options);
    this.#secrets = secrets;
  }

  override handle(...[request, options]: Parameters<Handle>): ReturnType<Handle> {
    for (const [name, value] of Object.entries(request.headers)) {
      if (SECRET_HEADERS.includes(name.toLowerCase())) this.#secrets.add(value);
    }
    if (typeof request.body === 'string') {
      const parameters = new URLSearchParams(request.body);
      for (const name of SECRET_PARAMETERS) this.#secrets.add(parameters.get(name) ?? undefined);
    }
    return super.handle(request, options);
  }
}
