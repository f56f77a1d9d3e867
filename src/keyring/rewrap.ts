import { forEachBounded } from '../bounded.ts';
import { keyCheckValue, wipe } from '../bytes.ts';
import type { Disk } from '../disk/file-system.ts';
import { sha256 } from '../disk/files.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { DataKeySpec } from '../format/sidecar.ts';
import { allowsKeyId, type KeyIdSet } from '../ids.ts';
import { backUpKeys } from '../keystore/backup.ts';
import { backupNamedBy, changedMeanwhile, noKeys } from '../keystore/failures.ts';
import type { ClaimHolder, KeyStore, RewrapClaim, StoredKey } from '../keystore/store.ts';
import { isSameMasterKey, masterKeyInRegion, regionOf } from '../kms/master-key.ts';
import type { OperatorCaller } from '../kms/operator-caller.ts';
import { type Deadline, startDeadline } from '../kms/retry.ts';
import { hitsAll, otherRegion, refusedFor, refusedForRunner, stillInTheMaking } from './rewrap-refusals.ts';
import { provenFacts, unwrapStoredKey } from './unwrap.ts';

export interface RewrapRequest {
  readonly store: KeyStore;
  /** ARN of the master key to move the keys to. */
  readonly newMasterKeyArn: string;
  readonly keyIds: KeyIdSet;
  /** Creates the directory that the wrapped keys are copied to before any of them is replaced; undefined: a dry run. */
  readonly makeBackupDirectory: (() => Promise<string>) | undefined;
  /** Name and release of this program, for the manifest of the copy. */
  readonly tool: string;
  /** A description of this process for another rewrap that finds the claim. */
  readonly holder: ClaimHolder;
}

export interface RewrapParts {
  /** The disk that holds the copies. */
  readonly disk: Disk;
  readonly kms: OperatorCaller;
  /** The context that keys without a sidecar may be bound to. */
  readonly context: EncryptionContext;
  /** Called with the reason for a delay. */
  readonly tell: (line: string) => void;
}

export interface RewrapResult {
  /** The directory of the old wrapped keys; undefined when nothing had to be replaced. */
  readonly backup: string | undefined;
  /** Versions that were moved; in a dry run, those that would be. */
  readonly moved: readonly KeyName[];
  readonly already: readonly KeyName[];
  readonly problems: readonly KeyError[];
  /** Versions that were not tried, because the failure of another one applies to all. */
  readonly untried: readonly KeyName[];
  /** Stored versions that are not under the new master key, whatever their ids. */
  readonly others: readonly KeyName[];
}

const CONCURRENCY = 16;
const NAMED_IDS = 10;
/** Milliseconds for the calls of one version. */
export const REWRAP_MS = 30_000;

/**
 * Moves wrapped keys to another master key. KMS wraps the same data key again (ReEncrypt); both wrapped keys are
 * unwrapped and compared; only then does the new one replace the old one, of which there is a copy. Servers may use the
 * store meanwhile. Versions that are under the new master key already are left alone, so a second run continues an
 * interrupted one.
 * @throws KeyError KEY_EXISTS when another rewrap is running, KEY_FILE_MISSING or KEY_UNKNOWN when there is no key,
 * STORE_UNAVAILABLE, and what `backUpKeys` throws; then nothing was replaced
 */
export async function rewrapKeys(request: RewrapRequest, parts: RewrapParts): Promise<RewrapResult> {
  const { store, makeBackupDirectory, holder } = request;
  if (makeBackupDirectory === undefined) return await moveKeys(request, parts, undefined);
  const lock = await store.claimForRewrap(holder, parts.tell);
  try {
    return await moveKeys(request, parts, lock);
  } finally {
    await lock.release();
  }
}

/** @param lock undefined: a dry run */
async function moveKeys(
  request: RewrapRequest,
  parts: RewrapParts,
  lock: RewrapClaim | undefined,
): Promise<RewrapResult> {
  const { store, newMasterKeyArn, keyIds, makeBackupDirectory } = request;
  const isUnder = async (name: KeyName): Promise<boolean> => {
    const { sidecar } = await store.read(name);
    return sidecar !== undefined && isSameMasterKey(sidecar.masterKeyArn, newMasterKeyArn);
  };
  const done = { moved: [] as KeyName[], already: [] as KeyName[], problems: [] as KeyError[] };
  const planned: KeyName[] = [];
  const { stored } = await store.list();
  if (stored.length === 0) throw noKeys(store.place, store.named);
  const wanted = stored.filter(({ id }) => allowsKeyId(keyIds, id));
  if (wanted.length === 0) {
    const found = [...new Set(stored.map(({ id }) => id))];
    throw new KeyError('KEY_UNKNOWN', `none of these key ids is in ${store.place}`, {
      hint: `the first of those that are: ${found.slice(0, NAMED_IDS).join(', ')}`,
    });
  }
  for (const name of wanted) {
    try {
      ((await isUnder(name)) ? done.already : planned).push(name);
    } catch (thrown) {
      done.problems.push(toKeyError(thrown));
    }
  }
  const backup = planned.length === 0 ? undefined : await makeBackupDirectory?.();
  const safe =
    backup === undefined || lock === undefined
      ? undefined
      : { saved: await saveKeys(request, backup, parts.disk), lock };
  const rewrapping = new Rewrapping(parts, store, newMasterKeyArn, safe);
  const untried: KeyName[] = [];
  let isOver = false;
  await forEachBounded(planned, CONCURRENCY, async (name) => {
    if (isOver) {
      untried.push(name);
      return;
    }
    try {
      ((await rewrapping.move(name)) ? done.moved : done.already).push(name);
    } catch (thrown) {
      const error = toKeyError(thrown);
      isOver ||= hitsAll(error, newMasterKeyArn);
      done.problems.push(error);
    }
  });
  const good = new Set([...done.moved, ...done.already].map(keyFileName));
  const others: KeyName[] = [];
  for (const name of (await store.list()).stored) {
    if (!good.has(keyFileName(name)) && !(await isUnder(name).catch(() => false))) others.push(name);
  }
  return { ...done, backup, untried, others };
}

/** Copies the key files; returns the SHA-256 of each copy by file name. */
async function saveKeys(
  { store: from, tool }: RewrapRequest,
  to: string,
  disk: Disk,
): Promise<ReadonlyMap<string, string>> {
  const { manifest } = await backUpKeys({ from, to, toNamed: backupNamedBy('--backup'), tool }, disk);
  return new Map(manifest.keys.map(({ name, sha256: sum }) => [keyFileName(name), sum]));
}

interface KnownKey {
  readonly before: StoredKey;
  readonly masterKeyArn: string;
  readonly encryptionContext: EncryptionContext;
  readonly keySpec: DataKeySpec | undefined;
  readonly keyCheckValue: string;
}

/** The preconditions of replacing a key. */
interface Safe {
  /** The SHA-256 of each key file that has been copied, by file name. */
  readonly saved: ReadonlyMap<string, string>;
  readonly lock: RewrapClaim;
}

class Rewrapping {
  readonly #parts: RewrapParts;
  readonly #store: KeyStore;
  readonly #newMasterKeyArn: string;
  /** Undefined: nothing is replaced. */
  readonly #safe: Safe | undefined;

  constructor(parts: RewrapParts, store: KeyStore, newMasterKeyArn: string, safe: Safe | undefined) {
    this.#parts = parts;
    this.#store = store;
    this.#newMasterKeyArn = newMasterKeyArn;
    this.#safe = safe;
  }

  /**
   * @returns false: the version was under the new master key already
   * @throws KeyError; the version is as it was, or moved
   */
  async move(name: KeyName): Promise<boolean> {
    const deadline = startDeadline(this.#parts.disk.clock, REWRAP_MS);
    try {
      return await this.#move(name, deadline);
    } finally {
      deadline.cancel();
    }
  }

  async #move(name: KeyName, deadline: Deadline): Promise<boolean> {
    const { kms } = this.#parts;
    const {
      before,
      masterKeyArn,
      encryptionContext,
      keySpec,
      keyCheckValue: expected,
    } = await this.#know(name, deadline);
    const newMasterKeyArn = this.#newMasterKeyArn;
    if (isSameMasterKey(masterKeyArn, newMasterKeyArn)) return false;
    const here = regionOf(masterKeyInRegion(masterKeyArn, kms.region));
    if (here !== kms.region) throw otherRegion(name, masterKeyArn, kms.region);
    const subject = `${describeKey(name)} (file ${keyFileName(name)})`;
    const keys = { old: masterKeyArn, new: newMasterKeyArn };
    const safe = this.#safe;
    const isDryRun = safe === undefined;
    const request = { wrapped: before.wrapped, masterKeyArn, encryptionContext, newMasterKeyArn, isDryRun };
    const made = await kms.reEncrypt(subject, request, deadline).catch(refusedFor(keys));
    if (isDryRun) {
      await this.#store.rehearseReplace(name, before.wrapped);
      return true;
    }
    if (safe.saved.get(keyFileName(name)) !== sha256(before.wrapped)) throw changedMeanwhile(name);
    await this.#store.replace({
      name,
      before,
      wrapped: made.wrapped,
      masterKeyArn: made.masterKeyArn,
      requestId: made.requestId,
      verify: async (wrapped) => {
        const unwrap = { wrapped, masterKeyArn: newMasterKeyArn, keySpec, keyCheckValue: expected, encryptionContext };
        const { plaintext } = await kms.decrypt(subject, unwrap, deadline).catch(refusedFor({ new: newMasterKeyArn }));
        wipe(plaintext);
        return expected;
      },
      assertAlone: () => safe.lock.assertHeld(),
    });
    return true;
  }

  /** Returns the facts about a version from its sidecar or, without one, from KMS. */
  async #know(name: KeyName, deadline: Deadline): Promise<KnownKey> {
    const before = await this.#read(name);
    const { sidecar } = before;
    if (sidecar?.keyCheckValue !== undefined) return { ...sidecar, keyCheckValue: sidecar.keyCheckValue, before };
    const { kms, context } = this.#parts;
    const unwrapped = await unwrapStoredKey(kms, context, name, before, deadline).catch(refusedForRunner);
    const { plaintext, masterKeyArn, encryptionContext } = unwrapped;
    try {
      const facts = sidecar === undefined ? provenFacts(unwrapped) : undefined;
      if (facts !== undefined && this.#safe !== undefined) {
        // The sidecar is added before a server that loads the key can add one, which would describe the old bytes.
        await this.#store.addSidecar(name, before.wrapped, facts);
        return { ...facts, keyCheckValue: keyCheckValue(plaintext), before: await this.#read(name) };
      }
      return {
        masterKeyArn,
        encryptionContext,
        keySpec: sidecar?.keySpec,
        keyCheckValue: keyCheckValue(plaintext),
        before,
      };
    } finally {
      wipe(plaintext);
    }
  }

  /** The creator of a version stores its sidecar last: it would then describe the old bytes. */
  async #read(name: KeyName): Promise<StoredKey> {
    let stored = await this.#store.read(name);
    if (stored.sidecar === undefined && stored.sidecarProblem === undefined) {
      const { isSidecarComing } = await this.#store.list();
      stored = await this.#store.read(name);
      if (stored.sidecar === undefined && isSidecarComing) throw stillInTheMaking(name);
    }
    if (stored.sidecarProblem !== undefined) throw stored.sidecarProblem;
    return stored;
  }
}
