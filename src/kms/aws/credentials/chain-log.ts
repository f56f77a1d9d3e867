import type { DefaultProviderInit } from '@aws-sdk/credential-provider-node';

type Logger = NonNullable<DefaultProviderInit['logger']>;

/** The chain's message after its last link failed. */
export const EXHAUSTED = 'Could not load credentials from any providers';

export type ChainLink = 'profile' | 'web identity' | 'container' | 'instance metadata';

export interface ChainStep {
  readonly link: ChainLink;
  /**
   * The source that the profile led to: `process`, `sso`, `login`, `web-identity`, `http`, `env`; empty: none in
   * particular.
   */
  detail: string;
  /** The reasons why it gave no credentials, in the SDK's words and order. */
  readonly messages: string[];
}

/** Sources that give an identity and are no separate step of the chain. */
const OTHERS: Readonly<Record<string, 'environment' | ChainLink>> = {
  'defaultProvider::fromEnv': 'environment',
  'defaultProvider::fromProcess': 'profile',
};

const LINKS: Readonly<Record<string, ChainLink>> = {
  'defaultProvider::fromIni': 'profile',
  'defaultProvider::fromTokenFile': 'web identity',
  'remoteProvider::fromHttp/fromContainerMetadata': 'container',
  'remoteProvider::fromInstanceMetadata': 'instance metadata',
};

/**
 * Follows one run of the SDK's default credential chain through its debug log. The chain throws only the error of its
 * last link, which is seldom the relevant one; the log has all of them, and never credentials.
 */
export class ChainLog implements Logger {
  readonly #steps: ChainStep[] = [];
  #current: ChainStep | undefined;
  #entered: 'environment' | ChainLink | undefined;

  /** The links that were tried, in order. */
  get steps(): readonly ChainStep[] {
    return this.#steps;
  }

  /** The link that the run ended in; undefined: an unknown one. */
  get entered(): 'environment' | ChainLink | undefined {
    return this.#entered;
  }

  debug(...content: unknown[]): void {
    const [text] = content;
    if (typeof text !== 'string') return;
    const marker = /^@aws-sdk\/credential-provider-node - (.+)$/.exec(text)?.[1];
    if (marker !== undefined) this.#enter(marker);
    else if (this.#current !== undefined) note(this.#current, text);
  }

  // Discards trace messages, which the SDK would print on the console.
  trace(): void {}
  info(): void {}
  warn(): void {}
  error(): void {}

  #enter(marker: string): void {
    const link = LINKS[marker];
    this.#current = link === undefined ? undefined : { link, detail: '', messages: [] };
    if (this.#current !== undefined) this.#steps.push(this.#current);
    this.#entered = link ?? OTHERS[marker];
  }
}

function note(step: ChainStep, text: string): void {
  const failure = /^@smithy\/property-provider (?:->|\(!\)) (.*)$/s.exec(text)?.[1];
  if (failure === EXHAUSTED) return;
  if (failure !== undefined) {
    step.messages.push(failure);
    return;
  }
  const source = /^@aws-sdk\/credential-provider-ini - credential_source is (\w+)$/.exec(text)?.[1];
  const provider = /^@aws-sdk\/credential-provider-(?!ini)([\w-]+) - from/.exec(text)?.[1];
  const login = text === '@aws-sdk/credential-providers - fromLoginCredentials' ? 'login' : undefined;
  step.detail = source ?? provider ?? login ?? step.detail;
}
