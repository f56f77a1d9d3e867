import { createEmbeddedKms, type EmbeddedKmsOptions } from './engine.ts';
import { emptyState, type KmsState, memoryState } from './state.ts';

export interface InitialStateOptions extends Omit<EmbeddedKmsOptions, 'state'> {
  readonly region: string;
  /** `alias/…`, each with a key of its own. */
  readonly aliases: readonly string[];
}

/**
 * A state that contains its first keys from the start: two processes that create the same state file at once both use
 * the keys of the one that won.
 * @throws KmsFault for an invalid alias name
 */
export function initialState({ region, aliases, accountId, ...parts }: InitialStateOptions): KmsState {
  const state = memoryState(emptyState(accountId));
  const kms = createEmbeddedKms({ ...parts, state });
  for (const alias of aliases) kms.ensureAlias(region, alias);
  return state.read();
}
