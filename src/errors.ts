import type { KmsFailure } from './kms-failure.ts';

/**
 * The one error class of the project and the closed list of its codes.
 *
 * `message` says what failed, on which key id, version and file, what was expected and what was found: lower case, no
 * full stop. `hint` says what to do now. Neither ever holds key bytes or credentials.
 */
export const ERROR_CODES = [
  /** A value from an option, a variable or a command line is malformed. */
  'BAD_OPTION',
  /** The peer broke the protocol between plugin and agent. */
  'PROTOCOL',
  /** The key directory cannot be listed or written. */
  'STORE_UNAVAILABLE',
  /** A key file exists and cannot be read. */
  'KEY_FILE_UNREADABLE',
  /** A key file is no wrapped key: wrong size, not a regular file, not what its sidecar describes. */
  'KEY_FILE_CORRUPT',
  /** A sidecar belongs to another key than its name says. */
  'KEY_FILE_SWAPPED',
  /** A sidecar tells of a key version whose key file is gone. */
  'KEY_FILE_MISSING',
  /**
   * No key file exists for this id. The agent creates one only after the plugin has confirmed that no table uses the
   * id.
   */
  'KEY_OF_DATA',
  /** The manifest of backed-up keys is missing, damaged, or another file. */
  'MANIFEST_CORRUPT',
  /** The sealed key cache is damaged, or made from other key files or settings: KMS unwraps the keys instead. */
  'KEY_CACHE_UNUSABLE',
  /** A key file with that id and version exists already: another process was faster. */
  'KEY_EXISTS',
  /** No stored key has that id (and version). */
  'KEY_UNKNOWN',
  /**
   * The key id may not be created here: there is no master key, the id is not in the list of allowed ids, or a backup
   * is running. Or the target of an export cannot hold the key.
   */
  'KEY_NOT_ALLOWED',
  /** Another key management, from which keys are to be imported, does not answer or refuses. */
  'SOURCE_UNAVAILABLE',
  /** A file of the server is damaged, of an unknown format, or encrypted with another key than the one at hand. */
  'DATA_UNREADABLE',
  /** Version 4294967294 is in use; there is no next one. */
  'KEY_VERSIONS_EXHAUSTED',
  /** A stored key version could not be unwrapped when the server started without it, and is being retried. */
  'KEY_STILL_WRAPPED',
  /** Some stored key versions could not be unwrapped, or some keys not be rotated. */
  'KEYS_FAILED',
  /** KMS refused for a reason that an operator must remove (policy, key state, wrong id, credentials). */
  'KMS_OPERATOR',
  /** KMS, the network or a credential source failed in a way that passes. */
  'KMS_TRANSIENT',
  /** KMS says that the wrapped key is corrupt, or bound to another context or key. */
  'KMS_CORRUPT',
  /** KMS gave an answer that it never should. */
  'KMS_BAD_ANSWER',
  /** `init` found something in its way. Nothing was changed. */
  'SETUP_REFUSED',
  /** `init` changed something, and the server did not start with it. The message says what was taken back. */
  'SETUP_FAILED',
  /** The running server does not answer, or ended the connection. */
  'SERVER_UNREACHABLE',
  /** The running server refused the login, or the user lacks a privilege. */
  'SERVER_REFUSED',
  /** A statement failed on the running server. */
  'SQL_FAILED',
  /** The audit log cannot be appended to: nothing is changed without a trace of it. */
  'AUDIT_LOG_UNUSABLE',
  /** The audit log is not as it was written. */
  'AUDIT_LOG_CHANGED',
  /** The time allowed ran out. */
  'TIMEOUT',
  /** A program that uses the TypeScript API goes on with a keyring that it wiped, or a client that it closed. */
  'CLOSED',
  /** A defect of this program. */
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface KeyErrorOptions {
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  /** The failed KMS call; default: that of the cause. */
  readonly failure?: KmsFailure | undefined;
}

export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: ErrorCode;
  /** An instruction for the operator; empty when there is nothing to add. */
  readonly hint: string;
  /** The failed KMS call that caused this error; undefined: none. */
  readonly failure: KmsFailure | undefined;

  constructor(code: ErrorCode, message: string, { hint, cause, failure }: KeyErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint ?? '';
    this.failure = failure ?? (cause instanceof KeyError ? cause.failure : undefined);
  }

  /** Returns the same error with another hint. */
  hinted(hint: string): KeyError {
    const { code, message, cause, failure } = this;
    return new KeyError(code, message, { hint, cause, failure });
  }
}

/** Converts anything thrown to a KeyError; another error is a defect of this program. */
export function toKeyError(thrown: unknown): KeyError {
  if (thrown instanceof KeyError) return thrown;
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new KeyError('INTERNAL', text, { cause: thrown });
}

/** Returns the `code` of a Node.js system error (`ENOENT`, …), or undefined for another error. */
export function systemErrorCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
