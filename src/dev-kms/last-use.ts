import { type Answer, authorize, type Call, seconds } from './call.ts';
import { keyArn, resolveKeyOnly } from './keys.ts';
import { Members } from './members.ts';
import type { KeyRecord } from './state.ts';
import { uuid } from './uuid.ts';

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
