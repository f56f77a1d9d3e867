/** One row of the table of failures in `classify.ts`. */
export type FailureKind =
  /** An operator must change something: policy, key state, credentials, configuration. */
  | 'operator'
  /** It passes by itself. */
  | 'transient'
  /** The wrapped key is damaged, or belongs to another master key or context. */
  | 'corrupt'
  /** Nothing that we know: ours or KMS's defect. */
  | 'other';

/** `briefly`: sources of credentials often fail for a moment at boot, and a corrected clock helps at once. */
export type RetryRule = 'no' | 'briefly' | 'until-deadline';

export interface FailureRow {
  readonly kind: FailureKind;
  readonly retry: RetryRule;
  readonly hint: string;
}
