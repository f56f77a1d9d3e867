import { ENCRYPTION_ALGORITHMS } from './encryption-algorithm.ts';
import { MASTER_KEY_STATES } from './messages.ts';

interface Described {
  /** The first release with this variable. */
  readonly since: string;
  /** A sentence, without its full stop, about the value. */
  readonly sentence: string;
  /** Further paragraphs for the reference. */
  readonly explanation?: readonly string[];
}

/** A whole number of 0 or more. */
export interface StatusNumber extends Described {
  readonly type: 'number';
  readonly unit: string;
  /** True: it only grows, from 0 at the start of the server. */
  readonly isCounter: boolean;
}

export interface StatusText extends Described {
  readonly type: 'text';
  /** Every value that it may have, or a description of them. */
  readonly values: readonly string[] | string;
}

export type StatusVariable = StatusNumber | StatusText;
type Rows = Readonly<Record<string, StatusVariable>>;

/**
 * The status variables of a server, without `Aws_key_management_`, in the order of SHOW STATUS. Part of
 * docs/reference.md is generated from this table and the next; tests compare the plugin's own list.
 */
export const STATUS_VARIABLES = {
  agent_state: {
    type: 'text',
    values: ['starting', 'running', 'idle', 'failed'],
    since: '0.1.0',
    sentence: 'State of the agent, or of the connection to one that listens on a socket',
    explanation: [
      '`idle`: there is none, and none is needed; the next request starts one. `failed`: the last one could not be started or reached. Loaded keys serve the server in every state.',
    ],
  },
  agent_starts: {
    type: 'number',
    unit: 'starts',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Agents that the plugin has started, or connections that it has made to one that listens',
  },
  keys_loaded: {
    type: 'number',
    unit: 'key ids',
    isCounter: false,
    since: '0.1.0',
    sentence: 'Key ids of which the server has a version in memory',
  },
  versions_loaded: {
    type: 'number',
    unit: 'key versions',
    isCounter: false,
    since: '0.1.0',
    sentence: 'Key versions that the server has in memory',
  },
  versions_missing: {
    type: 'number',
    unit: 'key versions',
    isCounter: false,
    since: '0.1.0',
    sentence: 'Stored key versions that are not unwrapped yet, and are tried again',
    explanation: [
      'It is above 0 only after a start with [aws_key_management_allow_missing_keys](#aws_key_management_allow_missing_keys).',
    ],
  },
  versions_limit: {
    type: 'number',
    unit: 'key versions',
    isCounter: false,
    since: '0.1.0',
    sentence: 'Number of key versions from which on statements create no more keys',
    explanation: [
      'It is 100 for each second of [aws_key_management_start_timeout](#aws_key_management_start_timeout). [operation.md](operation.md#who-may-create-keys) names the exceptions.',
    ],
  },
  rotations: {
    type: 'number',
    unit: 'key versions',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Key versions that rotations have made',
  },
  keys_created: {
    type: 'number',
    unit: 'key versions',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Key versions that were made: first versions of new key ids, and those of rotations',
  },
  kms_calls_generate: {
    type: 'number',
    unit: 'requests',
    isCounter: true,
    since: '0.1.0',
    sentence: 'GenerateDataKeyWithoutPlaintext requests to KMS, repeated ones included',
  },
  kms_calls_decrypt: {
    type: 'number',
    unit: 'requests',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Decrypt requests to KMS, repeated ones included',
    explanation: [
      'Those of [aws_key_management_watch_interval](#aws_key_management_watch_interval) count, too, so it grows on an idle server.',
    ],
  },
  kms_errors_operator: {
    type: 'number',
    unit: 'failed requests',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Failed requests to KMS that somebody has to act on: permissions, credentials, the state of a master key',
    explanation: ['[errors.md](errors.md) has each failure, and what to do.'],
  },
  kms_errors_transient: {
    type: 'number',
    unit: 'failed requests',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Failed requests to KMS that pass by themselves: throttling, network, errors of KMS',
  },
  kms_errors_corrupt: {
    type: 'number',
    unit: 'failed requests',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Failed requests to KMS because a key file is damaged or belongs to another key',
  },
  kms_errors_other: {
    type: 'number',
    unit: 'failed requests',
    isCounter: true,
    since: '0.1.0',
    sentence: 'Failed requests to KMS of any other kind',
  },
  master_key_state: {
    type: 'text',
    values: ['not looked yet', ...MASTER_KEY_STATES],
    since: '0.1.0',
    sentence: 'Worst state of the master keys in use',
    explanation: [
      'The plugin looks every [aws_key_management_watch_interval](#aws_key_management_watch_interval) seconds. `unknown`: the last look could not tell.',
    ],
  },
  master_key_days_left: {
    type: 'text',
    values: 'a number of days, or empty',
    since: '0.1.0',
    sentence: 'Days until KMS deletes the first of the master keys in use',
    explanation: ['Empty: the state is not `pending deletion`, or the server may not call `kms:DescribeKey`.'],
  },
  encryption_contexts: {
    type: 'text',
    values: '`kept`, or `not kept: ` and the reason',
    since: '0.1.0',
    sentence: 'Whether the plugin encrypts with contexts that are kept',
    explanation: [
      'See [aws_key_management_kept_contexts](#aws_key_management_kept_contexts). If they are not, the server encrypts by its own functions, and nothing else changes.',
    ],
  },
  last_error: {
    type: 'text',
    values: 'text, or empty',
    since: '0.1.0',
    sentence: 'Text of the last error, with its hint',
    explanation: [
      'Empty: there was none. It stays after the error has passed. Users without `PROCESS` and `SUPER` see only the key that it is about.',
    ],
  },
  last_error_time: {
    type: 'text',
    values: 'a time, or empty',
    since: '0.1.0',
    sentence: 'Time of the last error: UTC, as in `2026-11-30T08:11:28Z`',
  },
} as const satisfies Rows;

/** The status variables of each key id, without `Aws_key_management_key_ID_`. */
export const KEY_STATUS_VARIABLES = {
  latest_version: {
    type: 'number',
    unit: 'version',
    isCounter: false,
    since: '0.1.0',
    sentence: 'Latest version of this key, which new pages are encrypted with',
  },
  encryption_algorithm: {
    type: 'text',
    values: ENCRYPTION_ALGORITHMS,
    since: '0.1.0',
    sentence: 'Algorithm of the latest version of this key',
  },
} as const satisfies Rows;
