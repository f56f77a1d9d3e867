import { KeyError } from '../errors.ts';
import { REGION } from '../format/region.ts';
import { isRecord } from './members.ts';
import { OPERATIONS } from './operations.ts';

/**
 * A fault that the embedded KMS injects into matching calls, once their signature has been verified. Rules are tried in
 * order; see `FaultPlan`.
 */
export type FaultRule = FaultSelector & Misbehaviour;

export interface FaultSelector {
  /** AWS's name of the operation, or `*` for all, which is the default. */
  readonly operation?: string | undefined;
  readonly region?: string | undefined;
  /** How many calls the rule applies to; undefined: all. */
  readonly count?: number | undefined;
  /** How many matching calls pass unchanged first. */
  readonly skip?: number | undefined;
  /** Chance from 0 to 1 that a matching call is affected. */
  readonly probability?: number | undefined;
}

export type Misbehaviour =
  /** Waits `ms` milliseconds. Latencies add up, and combine with one other fault. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Refuses with an AWS error and does nothing else. */
  | { readonly kind: 'error'; readonly name: string; readonly status: number; readonly message: string }
  | {
      readonly kind:
        | 'drop' /* destroys the connection without an answer */
        | 'hang' /* never answers */
        | 'half' /* does what was asked, sends half of the answer and closes */
        | 'garbage' /* a proxy's HTML page with status 502 */
        | 'wrong-key-id' /* answers with the ARN of another key */
        | 'wrong-plaintext' /* answers with other bytes of the right length; ReEncrypt with those of another data key of 16 bytes, wrapped */;
    }
  /** Answers with a plaintext of `bytes` bytes. */
  | { readonly kind: 'wrong-plaintext-length'; readonly bytes: number };

export type FaultKind = Misbehaviour['kind'];

const PLAIN_KINDS = ['drop', 'hang', 'half', 'garbage', 'wrong-key-id', 'wrong-plaintext'] as const;
export const FAULT_KINDS: readonly FaultKind[] = ['latency', 'error', ...PLAIN_KINDS, 'wrong-plaintext-length'];

/** Status and text that AWS sends with an error, for rules that give only its name. */
const KNOWN_ERRORS: ReadonlyMap<string, readonly [status: number, message: string]> = new Map([
  [
    'ThrottlingException',
    [400, 'You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.'],
  ],
  ['LimitExceededException', [400, '']],
  ['KMSInternalException', [500, '']],
  ['InternalFailure', [500, '']],
  ['DependencyTimeoutException', [503, 'The system timed out while trying to fulfill the request.']],
  ['KeyUnavailableException', [500, '']],
  ['ServiceUnavailableException', [503, '']],
  ['ExpiredTokenException', [400, 'The security token included in the request is expired']],
  ['UnrecognizedClientException', [400, 'The security token included in the request is invalid.']],
]);

const MEMBERS: readonly string[] = ['operation', 'region', 'count', 'skip', 'probability', 'kind'];
const OWN_MEMBERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['latency', ['ms']],
  ['error', ['name', 'status', 'message']],
  ['wrong-plaintext-length', ['bytes']],
]);

/**
 * A rule from JSON; unknown members are refused, so that a misspelt one is not ignored.
 * @throws KeyError BAD_OPTION
 */
export function parseFaultRule(json: unknown): FaultRule {
  if (!isRecord(json)) throw badFault('expected an object');
  const kind = FAULT_KINDS.find((candidate) => candidate === json['kind']);
  if (kind === undefined) throw badFault(`kind: expected one of ${FAULT_KINDS.join(', ')}, got ${show(json['kind'])}`);
  const allowed = [...MEMBERS, ...(OWN_MEMBERS.get(kind) ?? [])];
  const unknown = Object.keys(json).find((member) => !allowed.includes(member));
  if (unknown !== undefined) throw badFault(`${unknown}: a fault of kind ${kind} has no such member`);
  return { ...parseSelector(json), ...parseMisbehaviour(kind, json) };
}

function parseSelector(json: Record<string, unknown>): FaultSelector {
  const { operation, region, probability } = json;
  if (operation !== undefined && operation !== '*' && (typeof operation !== 'string' || !OPERATIONS.has(operation))) {
    throw badFault(`operation: expected * or one of ${[...OPERATIONS.keys()].join(', ')}, got ${show(operation)}`);
  }
  if (region !== undefined && (typeof region !== 'string' || !REGION.test(region))) {
    throw badFault(`region: expected the name of a Region, got ${show(region)}`);
  }
  if (probability !== undefined && (typeof probability !== 'number' || !(probability >= 0 && probability <= 1))) {
    throw badFault(`probability: expected 0 to 1, got ${show(probability)}`);
  }
  return {
    operation,
    region,
    count: optionalWhole(json, 'count', 1),
    skip: optionalWhole(json, 'skip', 0),
    probability,
  };
}

function parseMisbehaviour(kind: FaultKind, json: Record<string, unknown>): Misbehaviour {
  switch (kind) {
    case 'latency':
      return { kind, ms: whole(json, 'ms', 0) };
    case 'wrong-plaintext-length':
      return { kind, bytes: whole(json, 'bytes', 0) };
    case 'error': {
      const { name, message } = json;
      if (typeof name !== 'string' || !/^[A-Za-z][A-Za-z0-9]*$/.test(name)) {
        throw badFault(`name: expected the name of an AWS error, got ${show(name)}`);
      }
      if (message !== undefined && typeof message !== 'string')
        throw badFault(`message: expected text, got ${show(message)}`);
      const [status, text] = KNOWN_ERRORS.get(name) ?? [400, ''];
      const given = optionalWhole(json, 'status', 400) ?? status;
      if (given > 599) throw badFault(`status: expected 400 to 599, got ${given}`);
      return { kind, name, status: given, message: message ?? text };
    }
    default:
      return { kind };
  }
}

function optionalWhole(json: Record<string, unknown>, member: string, minimum: number): number | undefined {
  return json[member] === undefined ? undefined : whole(json, member, minimum);
}

function whole(json: Record<string, unknown>, member: string, minimum: number): number {
  const value = json[member];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum) {
    throw badFault(`${member}: expected a whole number from ${minimum}, got ${show(value)}`);
  }
  return value;
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

export function badFault(reason: string): KeyError {
  return new KeyError('BAD_OPTION', `fault: ${reason}`, {
    hint: 'for example Decrypt:latency=5000:count=2, *:error=ThrottlingException:skip=1 or GenerateDataKey:drop',
  });
}
