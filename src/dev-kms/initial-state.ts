import { createEmbeddedKms, type EmbeddedKmsOptions } from './engine.ts';
import { emptyState, type KmsState, memoryState } from './state.ts';

export interface InitialStateOptions extends Omit<EmbeddedKmsOptions, 'state'> {
  readonly region: string;
  /** `alias/…`, each with a key of its own. */
  readonly aliases: readonly string[];
}

/**
 * A state that has its first keys from its first moment: of two processes that make the same state file at once, both
 * go on with the same keys.
 * @throws KmsFault for a name that no alias may have
 */
export function initialState({ region, aliases, accountId, ...parts }: InitialStateOptions): KmsState {
  const state = memoryState(emptyState(accountId));
  const kms = createEmbeddedKms({ ...parts, state });
  for (const alias of aliases) kms.ensureAlias(region, alias);
  return state.read();
}
