/** The row of the failure table for a proxy that does not accept the user and password it was given. */
export const PROXY_REFUSED = 'ProxyAuthenticationRequired';

/** A proxy that refused is asked again after this time: many lock an account after a few wrong passwords. */
const REST_MS = 30_000;
/** The other calls wait this long for the outcome of the first one. */
const FIRST_ALONE_MS = 1_000;
const REFUSED_STATUS = 407;

class ProxyRefusal extends Error {
  override readonly name = PROXY_REFUSED;
}

/** RFC 9110, 15.5.8; or the error of Node.js for a CONNECT that was answered so. */
export function isProxyRefusal(thrown: unknown): boolean {
  if (thrown instanceof ProxyRefusal) return true;
  if (!(thrown instanceof Error) || !('code' in thrown) || !('statusCode' in thrown)) return false;
  return thrown.code === 'ERR_PROXY_TUNNEL' && thrown.statusCode === REFUSED_STATUS;
}

/** What a call learned of the proxy. */
export type ProxyOutcome = { readonly status: number } | { readonly error: unknown };

/**
 * Limits how often a proxy hears a user and password that it refuses: one call is made first, and a refusal answers every
 * call of the next half minute, of all keys, Regions and services.
 */
export class ProxyGate {
  readonly #nowMs: () => number;
  #isAccepted = false;
  #refusal: { readonly error: Error; readonly untilMs: number } | undefined;
  #first: Promise<void> | undefined;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Waits until a call may be made.
   * @returns what is to be called once with the outcome; it returns the error when the proxy refused
   * @throws Error the proxy's last refusal
   */
  async enter(): Promise<(outcome: ProxyOutcome) => Error | undefined> {
    if (this.#first !== undefined) await Promise.race([this.#first, sleep(FIRST_ALONE_MS)]);
    const { error, untilMs } = this.#refusal ?? { untilMs: 0 };
    if (error !== undefined && this.#nowMs() < untilMs) throw error;
    if (this.#isAccepted) return (outcome) => this.#learn(outcome);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#first = promise;
    return (outcome) => {
      if (this.#first === promise) this.#first = undefined;
      const refusal = this.#learn(outcome);
      resolve();
      return refusal;
    };
  }

  #learn(outcome: ProxyOutcome): Error | undefined {
    if ('status' in outcome && outcome.status !== REFUSED_STATUS) {
      this.#isAccepted = true;
      this.#refusal = undefined;
      return undefined;
    }
    const error = 'status' in outcome ? new ProxyRefusal(`the proxy answered HTTP ${outcome.status}`) : outcome.error;
    if (!(error instanceof Error) || !isProxyRefusal(error)) return undefined;
    this.#isAccepted = false;
    this.#refusal = { error, untilMs: this.#nowMs() + REST_MS };
    return error;
  }
}

async function sleep(ms: number): Promise<void> {
  await new Promise<void>((resolve) => void setTimeout(resolve, ms).unref());
}

const gates = new Map<string, ProxyGate>();

/** One gate of the process for everything that goes through the same proxies; undefined: the environment names none. */
export function proxyGateOf(environment: NodeJS.ProcessEnv): ProxyGate | undefined {
  const proxies = Object.entries(environment).filter(([name, value]) => /^(?:https?|all)_proxy$/i.test(name) && value);
  if (proxies.length === 0) return undefined;
  const key = proxies.sort().join('\n');
  const gate = gates.get(key) ?? new ProxyGate();
  gates.set(key, gate);
  return gate;
}
