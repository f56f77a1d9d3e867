import { type Answer, authorize, type Call, seconds } from './call.ts';
import { keyArn, resolveKeyOnly } from './keys.ts';
import { Members } from './members.ts';
import type { KeyRecord } from './state.ts';
import { uuid } from './uuid.ts';

interface Use {
  readonly operation: string;
  readonly atMs: number;
  readonly eventId: string;
  /** Undefined: in this process, without a request. */
  readonly requestId: string | undefined;
}

/**
 * When each key was last used, of each Region apart. Not in the state: a Decrypt must not write a file. So it is known since
 * this KMS began, which is what it gives as the start of its tracking.
 */
export class LastUses {
  readonly sinceMs: number;
  readonly #uses = new Map<string, Use>();

  constructor(sinceMs: number) {
    this.sinceMs = sinceMs;
  }

  of({ region, keyId }: KeyRecord): Use | undefined {
    return this.#uses.get(`${region} ${keyId}`);
  }

  /** A cryptographic operation that succeeded; a dry run is none. */
  add({ region, keyId }: KeyRecord, use: Use): void {
    this.#uses.set(`${region} ${keyId}`, use);
  }
}

export function recordUse(call: Call, key: KeyRecord, operation: string): void {
  const { lastUses, nowMs, randomBytes, caller } = call;
  lastUses.add(key, { operation, atMs: nowMs, eventId: uuid(randomBytes), requestId: caller.requestId });
}

export function getKeyLastUsage(call: Call, input: unknown): Answer {
  const members = new Members(input);
  const name = members.keyId('KeyId');
  members.check();
  const key = resolveKeyOnly(call, name, 'GetKeyLastUsage');
  authorize(call, 'GetKeyLastUsage', keyArn(call, key));
  const use = call.lastUses.of(key);
  return {
    KeyId: key.keyId,
    KeyCreationDate: seconds(key.createdAt),
    TrackingStartDate: seconds(Math.max(key.createdAt, call.lastUses.sinceMs)),
    KeyLastUsage:
      use === undefined
        ? {}
        : {
            Operation: use.operation,
            Timestamp: seconds(use.atMs),
            CloudTrailEventId: use.eventId,
            ...(use.requestId === undefined ? {} : { KmsRequestId: use.requestId }),
          },
  };
}
