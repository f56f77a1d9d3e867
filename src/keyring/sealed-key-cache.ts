import { hash } from 'node:crypto';
import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { toKeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { isSameContext, keyCacheContext } from '../format/encryption-context.ts';
import {
  type CachedKey,
  type ClosedKeyCache,
  keyCacheUnusable,
  maxKeyCacheBytes,
  type OpenKeyCache,
  parseKeyCache,
  sealKeyCache,
} from '../format/key-cache.ts';
import { describeKey, KEY_CACHE_FILE, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { Severity } from '../format/messages.ts';
import { writtenTime } from '../format/written-time.ts';
import type { KeyStore, Listing } from '../keystore/store.ts';
import type { KmsCaller } from '../kms/caller.ts';
import { isSameMasterKey, masterKeyInRegion } from '../kms/master-key.ts';
import { type Deadline, startDeadline } from '../kms/retry.ts';
import { withHint } from './refusals.ts';
import type { Settings } from './settings.ts';

export interface SealedKeyCacheParts {
  /** Returns the current settings, which a change replaces. */
  readonly settings: () => Settings;
  readonly store: KeyStore;
  readonly kms: KmsCaller;
  readonly clock: Clock;
  readonly log: (severity: Severity, text: string) => void;
}

export interface OpenedCache {
  readonly masterKeyArn: string;
  readonly keys: readonly CachedKey[];
  /** Stored versions that are not in the cache. */
  readonly others: readonly KeyName[];
  wipe(): void;
}

interface PlainKey {
  readonly name: KeyName;
  readonly algorithm: EncryptionAlgorithm;
  readonly plaintext: Uint8Array;
}

interface UnsealedKey extends CachedKey {
  readonly masterKeyArn: string;
}

const SUBJECT = 'sealed key cache';
/** Milliseconds without a new key that end a burst: keys come in bursts, at a start or a rotation of all keys. */
const QUIET_MS = 1_000;
/** Milliseconds that a plaintext key waits at most for the end of a burst. */
const LONGEST_MS = 30_000;
const SEAL_MS = 30_000;

/**
 * A cache of all data keys in one file, encrypted under a key that KMS wrapped and that encrypts nothing else. It is
 * valid only for the wrapped keys that it was made from, by their checksums: the key files remain authoritative.
 *
 * A load without the cache creates it; keys that are created later are added. Until they are written, within seconds,
 * plaintext keys stay in this object.
 */
export class SealedKeyCache {
  readonly #parts: SealedKeyCacheParts;
  readonly #ending = new AbortController();
  #unsealed: UnsealedKey[] = [];
  /** True if `unsealed` holds every stored version: nothing from the previous cache is needed. */
  #isWhole = false;
  #quietAtMs = 0;
  #sealing: Promise<void> | undefined;

  constructor(parts: SealedKeyCacheParts) {
    this.#parts = parts;
  }

  /** Settles when there is nothing more to write; undefined when nothing is being written. Never rejects. */
  get sealing(): Promise<void> | undefined {
    return this.#sealing;
  }

  /** Opens the cache; returns undefined, after a line in the log, when it is unusable. The caller wipes the result. */
  async open(listing: Listing, deadline: Deadline): Promise<OpenedCache | undefined> {
    const { clock, log } = this.#parts;
    // Half of the remaining time is kept for unwrapping every key.
    const limit = startDeadline(clock, Math.max(0, deadline.atMs - clock.monotonicMs()) / 2, deadline.signal);
    try {
      const opened = await this.#open(listing, limit);
      if (opened === undefined) {
        if (listing.stored.length > 0) log('note', `there is no ${SUBJECT} yet; unwrapping every key version alone`);
        return undefined;
      }
      const alone = opened.others.length === 0 ? '' : `; ${opened.others.length} more are unwrapped alone`;
      log('note', `loaded ${opened.keys.length} key versions from the ${SUBJECT}${alone}`);
      return opened;
    } catch (thrown) {
      const reason = withHint(toKeyError(thrown));
      log('warning', `the ${SUBJECT} ${KEY_CACHE_FILE} is not used: ${reason}; unwrapping every key version alone`);
      return undefined;
    } finally {
      limit.cancel();
    }
  }

  /** Copies a data key for the next `seal`, with the wrapped bytes that it came from. */
  add({ name, algorithm, plaintext }: PlainKey, wrapped: Uint8Array, masterKeyArn: string): void {
    if (this.#ending.signal.aborted) return;
    const wrappedSha256 = hash('sha256', wrapped, 'buffer');
    this.#unsealed.push({ name, wrappedSha256, masterKeyArn, algorithm, dataKey: Buffer.from(plaintext) });
  }

  /**
   * Schedules a write of the cache, once no more keys arrive.
   * @param isWhole true: the added keys are all that are stored
   */
  sealSoon(isWhole: boolean): void {
    this.#isWhole ||= isWhole;
    this.#quietAtMs = this.#parts.clock.monotonicMs() + QUIET_MS;
    if (this.#unsealed.length === 0 || this.#ending.signal.aborted) return;
    this.#sealing ??= this.#sealAll().finally(() => {
      this.#sealing = undefined;
    });
  }

  /** Wipes keys that were added and not sealed. */
  forget(): void {
    for (const { dataKey } of this.#unsealed) wipe(dataKey);
    this.#unsealed = [];
    this.#isWhole = false;
  }

  close(): void {
    this.#ending.abort(new Error('the agent ends'));
    this.forget();
  }

  async #sealAll(): Promise<void> {
    const { clock, log } = this.#parts;
    while (this.#unsealed.length > 0) {
      await this.#untilQuiet();
      if (this.#ending.signal.aborted) return;
      const fresh = this.#unsealed;
      const isWhole = this.#isWhole;
      this.#unsealed = [];
      this.#isWhole = false;
      const deadline = startDeadline(clock, SEAL_MS, this.#ending.signal);
      try {
        await this.#seal(fresh, isWhole, deadline);
      } catch (thrown) {
        log(
          'warning',
          `the ${SUBJECT} was not written: ${withHint(toKeyError(thrown))}; the keys are safe in their files`,
        );
      } finally {
        deadline.cancel();
        for (const { dataKey } of fresh) wipe(dataKey);
      }
    }
  }

  async #untilQuiet(): Promise<void> {
    const { clock } = this.#parts;
    const latestMs = clock.monotonicMs() + LONGEST_MS;
    for (;;) {
      const pauseMs = Math.min(this.#quietAtMs, latestMs) - clock.monotonicMs();
      if (pauseMs <= 0) return;
      await clock.sleep(pauseMs, this.#ending.signal).catch(() => undefined);
      if (this.#ending.signal.aborted) return;
    }
  }

  async #seal(fresh: readonly UnsealedKey[], isWhole: boolean, deadline: Deadline): Promise<void> {
    const { settings, store, kms, clock, log } = this.#parts;
    const before = isWhole ? undefined : await this.#open(await store.list(), deadline);
    if (!isWhole && before === undefined) return;
    try {
      const masterKeyArn = before?.masterKeyArn ?? mostUsed(fresh);
      // Keys under another master key must not become accessible through this one.
      const held = new Set(before?.keys.map(({ name }) => keyFileName(name)));
      const joining = fresh.filter(
        (key) => isSameMasterKey(key.masterKeyArn, masterKeyArn) && !held.has(keyFileName(key.name)),
      );
      if (joining.length === 0) return;
      const keys = [...(before?.keys ?? []), ...joining];
      const encryptionContext = keyCacheContext(settings().encryptionContext);
      const masterKeyId = masterKeyInRegion(masterKeyArn, kms.region);
      const request = { masterKeyId, keySpec: 'AES_256', encryptionContext } as const;
      const { wrapped } = await kms.generate(SUBJECT, request, deadline);
      const unwrap = { ...request, wrapped, masterKeyArn, keyCheckValue: undefined };
      const { plaintext: sealingKey } = await kms.decrypt(SUBJECT, unwrap, deadline);
      try {
        const now = settings();
        const header = {
          created: writtenTime(clock.wallMs()),
          masterKeyId: now.masterKeyId,
          encryptionContext: now.encryptionContext,
          masterKeyArn,
          wrappedSealingKey: wrapped,
        };
        await store.replaceKeyCache(sealKeyCache(header, keys, sealingKey));
      } finally {
        wipe(sealingKey);
      }
      const left = fresh.filter((key) => !isSameMasterKey(key.masterKeyArn, masterKeyArn)).length;
      const others = left === 0 ? '' : `; ${left} under other master keys are not in it`;
      log('note', `sealed ${keys.length} key versions into ${KEY_CACHE_FILE}${others}`);
    } finally {
      before?.wipe();
    }
  }

  /** Returns undefined when there is no cache. @throws KeyError */
  async #open(listing: Listing, deadline: Deadline): Promise<OpenedCache | undefined> {
    const bytes = await this.#parts.store.readKeyCache(maxKeyCacheBytes(listing.stored.length));
    if (bytes === undefined) return undefined;
    const cache = parseKeyCache(bytes);
    this.#assertOfSettings(cache);
    // The files are read while KMS is called.
    const [unwrapped, checked] = await Promise.allSettled([
      this.#unwrapSealingKey(cache, deadline),
      this.#assertUnchanged(cache),
    ]);
    if (unwrapped.status === 'rejected') throw unwrapped.reason;
    const sealingKey = unwrapped.value;
    try {
      if (checked.status === 'rejected') throw checked.reason;
      return opened(cache, cache.open(sealingKey), listing);
    } finally {
      wipe(sealingKey);
    }
  }

  #assertOfSettings({ header }: ClosedKeyCache): void {
    const settings = this.#parts.settings();
    if (header.masterKeyId !== settings.masterKeyId) {
      const names = `"${header.masterKeyId}" when it was written, now it is "${settings.masterKeyId}"`;
      throw keyCacheUnusable(`aws_key_management_master_key_id was ${names}`);
    }
    if (!isSameContext(header.encryptionContext, settings.encryptionContext)) {
      throw keyCacheUnusable('aws_key_management_encryption_context was another when it was written');
    }
  }

  async #unwrapSealingKey({ header }: ClosedKeyCache, deadline: Deadline): Promise<Buffer> {
    const { kms, settings } = this.#parts;
    const request = {
      wrapped: header.wrappedSealingKey,
      masterKeyArn: header.masterKeyArn,
      keySpec: 'AES_256',
      keyCheckValue: undefined,
      encryptionContext: keyCacheContext(settings().encryptionContext),
    } as const;
    return (await kms.decrypt(SUBJECT, request, deadline)).plaintext;
  }

  /** Checks that each wrapped key in the cache is stored unchanged. */
  async #assertUnchanged({ names, hasSha256 }: ClosedKeyCache): Promise<void> {
    await this.#parts.store.digest(names, (index, digest) => {
      const name = names[index];
      if (name === undefined) return;
      if (digest === undefined) throw keyCacheUnusable(`${describeKey(name)}: ${keyFileName(name)} cannot be read`);
      if (hasSha256(index, digest)) return;
      throw keyCacheUnusable(`${describeKey(name)}: ${keyFileName(name)} is another than when it was written`);
    });
  }
}

function opened(
  { header, names, wrappedSha256 }: ClosedKeyCache,
  open: OpenKeyCache,
  { stored }: Listing,
): OpenedCache {
  const { masterKeyArn } = header;
  const wipeAll = (): void => wipe(open.bytes);
  try {
    const keys = names.map((name, index) => {
      const { algorithm, dataKey } = open.key(index);
      return { name, wrappedSha256: wrappedSha256(index), algorithm, dataKey };
    });
    return { masterKeyArn, keys, others: without(stored, names), wipe: wipeAll };
  } catch (error) {
    wipeAll();
    throw error;
  }
}

/** Both lists are in ascending order. */
function without(stored: readonly KeyName[], held: readonly KeyName[]): readonly KeyName[] {
  let next = 0;
  return stored.filter(({ id, version }) => {
    const isHeld = held[next]?.id === id && held[next]?.version === version;
    if (isHeld) next += 1;
    return !isHeld;
  });
}

function mostUsed(keys: readonly UnsealedKey[]): string {
  const counts = new Map<string, number>();
  for (const { masterKeyArn } of keys) counts.set(masterKeyArn, (counts.get(masterKeyArn) ?? 0) + 1);
  return [...counts].reduce((most, each) => (each[1] > most[1] ? each : most), ['', 0])[0];
}
