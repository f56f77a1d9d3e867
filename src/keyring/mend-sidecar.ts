import { toKeyError } from '../errors.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import type { Role, Severity } from '../format/messages.ts';
import type { KeyStore, StoredKey } from '../keystore/store.ts';
import { withHint } from './refusals.ts';
import { provenFacts, type UnwrappedKey } from './unwrap.ts';

interface Parts {
  readonly role: Role;
  readonly store: KeyStore;
  readonly events: { log(severity: Severity, text: string): void };
}

/** Adds to the sidecar the facts about a key that KMS has just proved. A failure to do so does not affect the key. */
export async function mendSidecar(
  parts: Parts,
  name: KeyName,
  stored: StoredKey,
  unwrapped: UnwrappedKey,
): Promise<void> {
  if (stored.mismatch !== undefined) {
    const { masterKeyArn } = unwrapped;
    const what = `KMS opens it under ${masterKeyArn}, and it is the same data key, as when the two are copied while rewrap replaces them`;
    parts.events.log(
      'warning',
      `${stored.mismatch.message}; ${what}; ${await corrected(parts, name, stored, unwrapped)}`,
    );
  } else if (stored.sidecar === undefined && stored.sidecarProblem === undefined) {
    await added(parts, name, stored, unwrapped);
  }
}

/** Corrects the sidecar of a copy that was made during a rewrap. @returns the outcome */
async function corrected(
  { store, role }: Parts,
  name: KeyName,
  { wrapped }: StoredKey,
  unwrapped: UnwrappedKey,
): Promise<string> {
  // The ARN of a replica is that of another Region.
  if (role !== 'server' || unwrapped.servedBy !== undefined)
    return 'its sidecar is corrected by a later start of the server';
  return await store.correctSidecar(name, wrapped, unwrapped.masterKeyArn).then(
    (isCorrected) => (isCorrected ? 'its sidecar was corrected' : 'one of them is another by now'),
    (error: unknown) => `its sidecar was not corrected: ${withHint(toKeyError(error))}`,
  );
}

/** Adds the sidecar of a key whose creator was killed before it stored one. */
async function added(
  { store, role, events }: Parts,
  name: KeyName,
  { wrapped }: StoredKey,
  unwrapped: UnwrappedKey,
): Promise<void> {
  const facts = provenFacts(unwrapped);
  if (role !== 'server' || facts === undefined) return;
  await store.addSidecar(name, wrapped, facts).then(
    () => events.log('note', `${describeKey(name)}: its sidecar was missing, and was written anew`),
    (error: unknown) => events.log('warning', withHint(toKeyError(error))),
  );
}
