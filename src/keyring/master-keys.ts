import type { Clock } from '../clock.ts';
import { keyContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { MASTER_KEY_STATES, type MasterKeyState } from '../format/messages.ts';
import type { KeyDirectory, StoredKey } from '../keystore/directory.ts';
import { classifyKmsFailure, describeFailure, type KmsFailure } from '../kms/classify.ts';
import type { KmsClient } from '../kms/client.ts';
import { type Deadline, unlessAborted } from '../kms/retry.ts';
import type { Settings } from './settings.ts';

export interface MasterKeyReport {
  /** Of all master keys that stored versions need, the worst. */
  readonly state: MasterKeyState;
  readonly daysLeft: number | undefined;
  /** What the log must say; empty when all is well. */
  readonly troubles: readonly string[];
}

export interface MasterKeyParts {
  readonly settings: Settings;
  readonly store: KeyDirectory;
  readonly kms: KmsClient;
  readonly clock: Clock;
}

interface FoundKey {
  readonly name: KeyName;
  readonly stored: StoredKey;
}

const DAY_MS = 86_400_000;

/**
 * Looks whether the next start would find its master keys usable: Decrypt with DryRun on one stored key of each, which
 * needs no right that the server has not, and DescribeKey for the date of a deletion, where that is allowed.
 * @throws KeyError STORE_UNAVAILABLE
 */
export async function checkMasterKeys(parts: MasterKeyParts, deadline: Deadline): Promise<MasterKeyReport> {
  const reports: MasterKeyReport[] = [];
  for (const found of (await oneKeyOfEach(parts.store)).values()) reports.push(await checkOne(found, parts, deadline));
  const [worst] = reports.sort(
    (a, b) =>
      MASTER_KEY_STATES.indexOf(b.state) - MASTER_KEY_STATES.indexOf(a.state) ||
      (a.daysLeft ?? Infinity) - (b.daysLeft ?? Infinity),
  );
  return {
    state: worst?.state ?? 'usable',
    daysLeft: worst?.daysLeft,
    troubles: reports.flatMap(({ troubles }) => troubles),
  };
}

/**
 * A stored version for each master key, by ARN, the later ones first choice: a master key that only old versions need is
 * needed. Keys of the original plugin do not tell theirs and share one entry.
 */
async function oneKeyOfEach(store: KeyDirectory): Promise<Map<string, FoundKey>> {
  const found = new Map<string, FoundKey>();
  for (const name of (await store.list()).stored) {
    const stored = await store.read(name).catch(() => undefined);
    if (stored !== undefined) found.set(stored.sidecar?.masterKeyArn ?? '', { name, stored });
  }
  return found;
}

async function checkOne(
  { name, stored }: FoundKey,
  parts: MasterKeyParts,
  deadline: Deadline,
): Promise<MasterKeyReport> {
  const { kms, settings } = parts;
  const { wrapped, sidecar } = stored;
  try {
    const encryptionContext = sidecar?.encryptionContext ?? keyContext(settings.encryptionContext, name);
    const request = { wrapped, masterKeyArn: sidecar?.masterKeyArn, encryptionContext };
    await unlessAborted(kms.probe(request, deadline.signal), deadline.signal, () => undefined);
    return { state: 'usable', daysLeft: undefined, troubles: [] };
  } catch (error) {
    const failure = classifyKmsFailure(error);
    const state = stateOf(failure);
    const daysLeft =
      state === 'pending deletion' ? await daysUntilDeletion(sidecar?.masterKeyArn, parts, deadline) : undefined;
    return { state, daysLeft, troubles: [describeTrouble(name, failure, state, daysLeft)] };
  }
}

function stateOf({ name, message }: KmsFailure): MasterKeyState {
  if (/pending (?:replica )?deletion/.test(message)) return 'pending deletion';
  if (name === 'DisabledException') return 'disabled';
  return 'unknown';
}

async function daysUntilDeletion(
  arn: string | undefined,
  { kms, clock }: MasterKeyParts,
  { signal }: Deadline,
): Promise<number | undefined> {
  if (arn === undefined) return undefined;
  const described = await unlessAborted(kms.describeMasterKey(arn, signal), signal, () => undefined).catch(
    () => undefined,
  );
  const date = described?.deletionDate;
  return date === undefined ? undefined : Math.max(0, Math.floor((date.getTime() - clock.wallMs()) / DAY_MS));
}

function describeTrouble(
  name: KeyName,
  failure: KmsFailure,
  state: MasterKeyState,
  daysLeft: number | undefined,
): string {
  const days = daysLeft === undefined ? '' : `, ${daysLeft} days left`;
  const subject = `${describeKey(name)} (file ${keyFileName(name)})`;
  const consequence = 'a running server goes on, the next start fails';
  return state === 'unknown'
    ? `whether the master key of ${subject} is usable cannot be told: ${describeFailure(failure)}; ${failure.hint}`
    : `the master key of ${subject} is ${state}${days}: ${consequence}: ${describeFailure(failure)}; ${failure.hint}`;
}
