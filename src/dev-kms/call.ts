import type { RandomBytes } from './ciphertext.ts';
import { deniedByIdentityPolicy } from './kms-fault.ts';
import type { LastUses } from './last-uses.ts';
import type { KmsState } from './state.ts';

/** The caller's access key and the actions that its identity policy would forbid. */
export interface Caller {
  readonly accessKeyId: string;
  /** IAM actions without `kms:`, such as `Decrypt` or `ReEncryptFrom`; `ReEncrypt` stands for both of its actions. */
  readonly denied: readonly string[];
  readonly requestId?: string;
}

/** Members of an answer; blobs are bytes until the answer is serialised. Undefined: AWS answers with no body. */
export type Answer = Readonly<Record<string, unknown>> | undefined;

/** One request on its way through an operation. */
export interface Call {
  readonly state: KmsState;
  readonly region: string;
  readonly caller: Caller;
  readonly nowMs: number;
  readonly randomBytes: RandomBytes;
  readonly lastUses: LastUses;
}

export interface Operation {
  /** Whether `run` may change the state that it is given. */
  readonly changes: boolean;
  /** @throws KmsFault */
  run(call: Call, input: unknown): Answer;
}

/** @throws KmsFault AccessDeniedException */
export function authorize(call: Call, action: string, resource: string): void {
  const { denied } = call.caller;
  if (denied.includes(action) || (action.startsWith('ReEncrypt') && denied.includes('ReEncrypt'))) {
    throw deniedByIdentityPolicy(userArn(call), action, resource);
  }
}

export function userArn(call: Call): string {
  return `arn:${partition(call.region)}:iam::${call.state.accountId}:user/dev-kms`;
}

export function partition(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}

export function arn(call: Pick<Call, 'region' | 'state'>, resource: string): string {
  return `arn:${partition(call.region)}:kms:${call.region}:${call.state.accountId}:${resource}`;
}

/** AWS writes times as seconds since 1970, with milliseconds behind the point. */
export function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}
