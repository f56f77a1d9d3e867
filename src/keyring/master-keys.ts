import { forEachBounded } from '../bounded.ts';
import type { Clock } from '../clock.ts';
import { contextCandidates, type EncryptionContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { MASTER_KEY_STATES, type MasterKeyState, type Severity } from '../format/messages.ts';
import { policyGroup } from '../format/sidecar.ts';
import type { KeyStore, StoredKey } from '../keystore/store.ts';
import type { ProbeResult, UnwrapCaller } from '../kms/caller.ts';
import type { KmsClients } from '../kms/client.ts';
import type { RegionalFailure } from '../kms/failover.ts';
import { describeFailure } from '../kms/failures/classify.ts';
import { masterKeyInRegion, regionOf } from '../kms/master-key.ts';
import { type Deadline, unlessAborted } from '../kms/retry.ts';
import type { Settings } from './settings.ts';
import { pinnedMasterKey } from './unwrap.ts';

export interface MasterKeyReport {
  /** The state in the configured Region: the worst of all master keys that stored versions need. */
  readonly state: MasterKeyState;
  readonly daysLeft: number | undefined;
  /** Lines for the log; empty when there is no problem. */
  readonly troubles: readonly Trouble[];
}

export interface Trouble {
  readonly severity: Severity;
  readonly text: string;
}

export interface MasterKeyParts {
  readonly settings: Settings;
  readonly store: KeyStore;
  readonly clients: KmsClients;
  readonly kms: UnwrapCaller;
  readonly clock: Clock;
}

interface FoundKey {
  readonly name: KeyName;
  readonly stored: StoredKey;
}

const DAY_MS = 86_400_000;
const CONCURRENCY = 8;

/**
 * Checks that the next start would find its master keys usable: by Decrypt with DryRun on one stored key of each, which
 * needs no further permission, and by DescribeKey, if permitted, for the date of a deletion.
 * @throws KeyError STORE_UNAVAILABLE
 */
export async function checkMasterKeys(parts: MasterKeyParts, deadline: Deadline): Promise<MasterKeyReport> {
  const reports: MasterKeyReport[] = [];
  await forEachBounded(await oneKeyOfEach(parts.store), CONCURRENCY, async (found) => {
    reports.push(await checkOne(found, parts, deadline));
  });
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
 * Returns a stored version of each group that a policy may treat differently, the latest one first: a master key that
 * only old versions need is needed, too. Versions without a sidecar are all included, because their master keys are
 * unknown.
 */
async function oneKeyOfEach(store: KeyStore): Promise<readonly FoundKey[]> {
  const found = new Map<string, FoundKey>();
  for (const name of (await store.list()).stored) {
    const stored = await store.readToUnwrap(name).catch(() => undefined);
    if (stored === undefined) continue;
    const { sidecar, mismatch } = stored;
    const isAlone = sidecar === undefined || mismatch !== undefined;
    found.set(isAlone ? keyFileName(name) : policyGroup(sidecar), { name, stored });
  }
  return [...found.values()];
}

async function checkOne(found: FoundKey, parts: MasterKeyParts, deadline: Deadline): Promise<MasterKeyReport> {
  const arn = pinnedMasterKey(found.stored);
  const { servedBy, failures } = await probe(found, parts, deadline);
  const [here] = failures;
  if (here === undefined) return { state: 'usable', daysLeft: undefined, troubles: [] };
  const states = await Promise.all(failures.map((failed) => stateOf(failed, arn, parts, deadline)));
  const [{ state, daysLeft } = UNKNOWN] = states;
  const subject = `master key of ${describeKey(found.name)} (file ${keyFileName(found.name)})`;
  const said = failures.map(({ region, failure }, index) => {
    const { state: told, daysLeft: days } = states[index] ?? UNKNOWN;
    const left = days === undefined ? '' : `, ${days} days left`;
    const what = told === 'unknown' ? 'is perhaps unusable' : `is ${told}`;
    return `${what} in ${region}${left}: ${describeFailure(failure)}; ${failure.hint}`;
  });
  const severity: Severity = state === 'unknown' || servedBy !== undefined ? 'warning' : 'error';
  return {
    state,
    daysLeft,
    troubles: [{ severity, text: `the ${subject} ${said.join('; it ')}; ${consequenceOf(state, servedBy)}` }],
  };
}

function consequenceOf(state: MasterKeyState, servedBy: string | undefined): string {
  if (servedBy !== undefined) return `a running server goes on, the next start would be served by ${servedBy}`;
  return state === 'unknown'
    ? 'a running server goes on, the next start may fail'
    : 'a running server goes on, the next start fails';
}

/** Without a sidecar the context is unknown, so each candidate is tried. */
async function probe(
  { name, stored }: FoundKey,
  { kms, settings }: MasterKeyParts,
  deadline: Deadline,
): Promise<ProbeResult> {
  const { wrapped, sidecar } = stored;
  const subject = `${describeKey(name)} (file ${keyFileName(name)})`;
  const probeWith = (encryptionContext: EncryptionContext): Promise<ProbeResult> =>
    kms.probe(subject, { wrapped, masterKeyArn: pinnedMasterKey(stored), encryptionContext }, deadline);
  if (sidecar !== undefined) return await probeWith(sidecar.encryptionContext);
  const [first, ...others] = contextCandidates(settings.encryptionContext, name);
  let result = await probeWith(first);
  for (const context of others) {
    if (!result.failures.some(({ failure }) => failure.kind === 'corrupt')) break;
    result = await probeWith(context);
  }
  return result;
}

interface KnownState {
  readonly state: MasterKeyState;
  readonly daysLeft: number | undefined;
}

const UNKNOWN: KnownState = { state: 'unknown', daysLeft: undefined };

async function stateOf(
  { region, failure }: RegionalFailure,
  arn: string | undefined,
  parts: MasterKeyParts,
  deadline: Deadline,
): Promise<KnownState> {
  const { name, group } = failure;
  if (group === 'pending-deletion') {
    return { state: 'pending deletion', daysLeft: await daysUntilDeletion(region, arn, parts, deadline) };
  }
  if (name === 'DisabledException') return { state: 'disabled', daysLeft: undefined };
  // KMS gives the same error for a key that was always in another Region.
  const wasHere = arn !== undefined && regionOf(arn) === region;
  return name === 'NotFoundException' && wasHere ? { state: 'deleted', daysLeft: undefined } : UNKNOWN;
}

async function daysUntilDeletion(
  region: string,
  arn: string | undefined,
  { clients, clock }: MasterKeyParts,
  { signal }: Deadline,
): Promise<number | undefined> {
  const client = clients.find((candidate) => candidate.region === region);
  if (arn === undefined || client === undefined) return undefined;
  const described = await unlessAborted(
    client.describeKey(masterKeyInRegion(arn, region), signal),
    signal,
    () => undefined,
  ).catch(() => undefined);
  const atMs = described?.deletionMs;
  return atMs === undefined ? undefined : Math.max(0, Math.floor((atMs - clock.wallMs()) / DAY_MS));
}
