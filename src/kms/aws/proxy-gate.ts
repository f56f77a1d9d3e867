import type { Clock } from '../../clock.ts';
import { isProxyRefusal, ProxyRefusal, REFUSED_STATUS } from '../failures/proxy-refusal.ts';

/** Milliseconds before a proxy that refused is asked again: many lock an account after a few wrong passwords. */
const REST_MS = 30_000;

/** The outcome of a call, as far as it concerns the proxy. */
export type ProxyOutcome = { readonly status: number } | { readonly error: unknown };

/**
 * Limits how often a proxy gets a user and password that it refuses. Calls are made one by one until the proxy has
 * accepted one; a refusal fails every call of the next half minute, for all keys, Regions and services. Every call has
 * its own time limit, so none delays the others for longer.
 */
export class ProxyGate {
  readonly #clock: Clock;
  #isAccepted = false;
  #refusal: { readonly error: Error; readonly untilMs: number } | undefined;
  #first: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits until a call may be made.
   * @returns a function to be called once with the outcome; it returns the error when the proxy refused
   * @throws Error the proxy's last refusal
   */
  async enter(): Promise<(outcome: ProxyOutcome) => Error | undefined> {
    // After a first call that tells nothing about the proxy, one other call is made, not all of them.
    while (this.#first !== undefined && !this.#isAccepted) await this.#first;
    const { error, untilMs } = this.#refusal ?? { untilMs: 0 };
    if (error !== undefined && this.#clock.monotonicMs() < untilMs) throw error;
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
    this.#refusal = { error, untilMs: this.#clock.monotonicMs() + REST_MS };
    return error;
  }
}

const gates = new Map<string, ProxyGate>();

/** The process-wide gate for the environment's proxies; undefined: the environment names none. */
export function proxyGateOf(environment: NodeJS.ProcessEnv, clock: Clock): ProxyGate | undefined {
  const proxies = Object.entries(environment).filter(([name, value]) => /^(?:https?|all)_proxy$/i.test(name) && value);
  if (proxies.length === 0) return undefined;
  const key = proxies.sort().join('\n');
  const gate = gates.get(key) ?? new ProxyGate(clock);
  gates.set(key, gate);
  return gate;
}
