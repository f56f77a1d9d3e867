/** The party that has to act on a failure. */
export type FailureKind =
  /** An operator must change something: policy, key state, credentials, configuration. */
  | 'operator'
  /** It ends by itself. */
  | 'transient'
  /** The wrapped key is damaged, or belongs to another master key or context. */
  | 'corrupt'
  /** An unknown cause: a defect of this program or of KMS. */
  | 'other';

/** `briefly`: sources of credentials often fail for a moment at boot, and a corrected clock helps at once. */
export type RetryRule = 'no' | 'briefly' | 'until-deadline';

/** The subject of a failure: code that distinguishes failures compares this, and never a text. */
export type FailureGroup =
  /** KMS limits the rate of calls. */
  | 'throttling'
  /** The service itself has trouble. */
  | 'service'
  /** The way to the endpoint. */
  | 'network'
  | 'proxy'
  /** The certificate of the endpoint, or its TLS. */
  | 'tls'
  /** An answer that did not come from KMS, or that KMS never should give. */
  | 'answer'
  /** The identity, and the sources that should provide it. */
  | 'credentials'
  /** A refused signature: the secret key or the clock is wrong. */
  | 'signature'
  /** STS refused the code of a multi-factor device. */
  | 'multi-factor'
  /** STS makes no session credentials from session credentials. */
  | 'session-credentials'
  /** A Region that the account has not opted in to. */
  | 'opt-in'
  /** The endpoint is one of another Region. */
  | 'region'
  /** The identity lacks a permission on the master key. */
  | 'permission'
  /** The state or the existence of the master key. */
  | 'master-key'
  /** The master key will be deleted. */
  | 'pending-deletion'
  /** The bytes of the wrapped key, or its encryption context. */
  | 'wrapped-key'
  /** A request that KMS cannot make sense of. */
  | 'request'
  /** This process and its limits. */
  | 'process'
  | 'unknown';

/** One row of the table of failures in `kms/failures/classify.ts`. */
export interface FailureRow {
  readonly kind: FailureKind;
  readonly group: FailureGroup;
  readonly retry: RetryRule;
  readonly hint: string;
}

/** One failed call of KMS, classified. */
export interface KmsFailure extends FailureRow {
  /** KMS's error name, or Node's error code. */
  readonly name: string;
  readonly message: string;
  /** The ARNs of master keys and the permissions (`kms:Decrypt`) that KMS's error names. */
  readonly about: readonly string[];
  /** KMS's request id; empty when no answer came. */
  readonly requestId: string;
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
}
