import type { Random } from '../clock.ts';
import type { FaultRule, Misbehaviour } from './fault-rule.ts';

export type ActiveFault = FaultRule & {
  /** How many calls the rule has matched since it was set. */
  readonly matched: number;
  /** How many of them the rule was applied to. */
  readonly struck: number;
};

/** The faults to apply to one call. */
export interface Affliction {
  readonly latencyMs: number;
  /** The first matching rule in order that is no latency. */
  readonly misbehaviour: Exclude<Misbehaviour, { readonly kind: 'latency' }> | undefined;
}

/** The rules in force. Every call is matched against each of them in the order in which they were set. */
export class FaultPlan {
  #rules: { readonly rule: FaultRule; matched: number; struck: number }[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Replaces all rules; counting begins anew. */
  set(rules: readonly FaultRule[]): void {
    this.#rules = rules.map((rule) => ({ rule, matched: 0, struck: 0 }));
  }

  clear(): void {
    this.set([]);
  }

  list(): readonly ActiveFault[] {
    return this.#rules.map(({ rule, matched, struck }) => ({ ...rule, matched, struck }));
  }

  next(operation: string, region: string): Affliction {
    let latencyMs = 0;
    let misbehaviour: Affliction['misbehaviour'];
    for (const entry of this.#rules) {
      const { rule } = entry;
      if (rule.operation !== undefined && rule.operation !== '*' && rule.operation !== operation) continue;
      if (rule.region !== undefined && rule.region !== region) continue;
      // Only one fault per call is applied, so a second rule must not count as used.
      if (rule.kind !== 'latency' && misbehaviour !== undefined) continue;
      entry.matched += 1;
      if (entry.matched <= (rule.skip ?? 0) || entry.struck >= (rule.count ?? Number.POSITIVE_INFINITY)) continue;
      if (rule.probability !== undefined && this.#random() >= rule.probability) continue;
      entry.struck += 1;
      if (rule.kind === 'latency') latencyMs += rule.ms;
      else misbehaviour = rule;
    }
    return { latencyMs, misbehaviour };
  }
}
