import { hash } from 'node:crypto';
import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { toKeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { isSameContext, keyRingContext } from '../format/encryption-context.ts';
import { describeKey, KEY_RING_FILE, type KeyName, keyFileName } from '../format/key-file-name.ts';
import {
  type ClosedKeyRing,
  keyRingUnusable,
  maxKeyRingBytes,
  type OpenKeyRing,
  parseKeyRing,
  type RingKey,
  sealKeyRing,
} from '../format/key-ring.ts';
import type { Severity } from '../format/messages.ts';
import { writtenTime } from '../format/written-time.ts';
import type { KeyStore, Listing } from '../keystore/store.ts';
import type { KmsCaller } from '../kms/caller.ts';
import { isSameMasterKey, masterKeyInRegion } from '../kms/master-key.ts';
import { type Deadline, startDeadline } from '../kms/retry.ts';
import { withHint } from './refusals.ts';
import type { Settings } from './settings.ts';

export interface SealedKeyRingParts {
  /** The settings of now: a change replaces them. */
  readonly settings: () => Settings;
  readonly store: KeyStore;
  readonly kms: KmsCaller;
  readonly clock: Clock;
  readonly log: (severity: Severity, text: string) => void;
}

export interface OpenedRing {
  readonly masterKeyArn: string;
  readonly keys: readonly RingKey[];
  /** Stored versions that it does not hold. */
  readonly others: readonly KeyName[];
  wipe(): void;
}

interface PlainKey {
  readonly name: KeyName;
  readonly algorithm: EncryptionAlgorithm;
  readonly plaintext: Uint8Array;
}

interface UnsealedKey extends RingKey {
  readonly masterKeyArn: string;
}

const SUBJECT = 'sealed key ring';
/** Keys come in bursts: those of a start, of a rotation of all keys. */
const QUIET_MS = 1_000;
/** No plaintext key waits longer for the end of a burst. */
const LONGEST_MS = 30_000;
const SEAL_MS = 30_000;

/**
 * All data keys in one file, encrypted under a key that KMS wrapped and that encrypts nothing else. It speaks for the
 * wrapped keys that it was made from, by their checksums, and for nothing else: the key files remain the truth.
 *
 * A load that did without it founds it; keys that are created later join it. Until then, for seconds, they stay here.
 */
export class SealedKeyRing {
  readonly #parts: SealedKeyRingParts;
  readonly #ending = new AbortController();
  #unsealed: UnsealedKey[] = [];
  /** `unsealed` holds every stored version: there is nothing to take over from the ring before. */
  #isWhole = false;
  #quietAtMs = 0;
  #sealing: Promise<void> | undefined;

  constructor(parts: SealedKeyRingParts) {
    this.#parts = parts;
  }

  /** Settled when there is nothing more to write; undefined when nothing is under way. Never rejects. */
  get sealing(): Promise<void> | undefined {
    return this.#sealing;
  }

  /** Undefined, and a line in the log, when it is of no use. The caller wipes it. */
  async open(listing: Listing, deadline: Deadline): Promise<OpenedRing | undefined> {
    const { clock, log } = this.#parts;
    // What is left of the time is for the ordinary way.
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
      log('warning', `the ${SUBJECT} ${KEY_RING_FILE} is not used: ${reason}; unwrapping every key version alone`);
      return undefined;
    } finally {
      limit.cancel();
    }
  }

  /** Copies a data key that `seal` is to take in, and that came from these wrapped bytes. */
  add({ name, algorithm, plaintext }: PlainKey, wrapped: Uint8Array, masterKeyArn: string): void {
    if (this.#ending.signal.aborted) return;
    const wrappedSha256 = hash('sha256', wrapped, 'buffer');
    this.#unsealed.push({ name, wrappedSha256, masterKeyArn, algorithm, dataKey: Buffer.from(plaintext) });
  }

  /** Writes the ring as soon as no key has come for a moment. @param isWhole what was added is all that is stored */
  sealSoon(isWhole: boolean): void {
    this.#isWhole ||= isWhole;
    this.#quietAtMs = this.#parts.clock.monotonicMs() + QUIET_MS;
    if (this.#unsealed.length === 0 || this.#ending.signal.aborted) return;
    this.#sealing ??= this.#sealAll().finally(() => {
      this.#sealing = undefined;
    });
  }

  /** Forgets what was added and is not sealed. */
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
      // What is under another master key never becomes openable through this one.
      const held = new Set(before?.keys.map(({ name }) => keyFileName(name)));
      const joining = fresh.filter(
        (key) => isSameMasterKey(key.masterKeyArn, masterKeyArn) && !held.has(keyFileName(key.name)),
      );
      if (joining.length === 0) return;
      const keys = [...(before?.keys ?? []), ...joining];
      const encryptionContext = keyRingContext(settings().encryptionContext);
      const masterKeyId = masterKeyInRegion(masterKeyArn, kms.region);
      const request = { masterKeyId, keySpec: 'AES_256', encryptionContext } as const;
      const { wrapped } = await kms.generate(SUBJECT, request, deadline);
      const unwrap = { ...request, wrapped, masterKeyArn, keyCheckValue: undefined };
      const { plaintext: ringKey } = await kms.decrypt(SUBJECT, unwrap, deadline);
      try {
        const now = settings();
        const header = {
          created: writtenTime(clock.wallMs()),
          masterKeyId: now.masterKeyId,
          encryptionContext: now.encryptionContext,
          masterKeyArn,
          wrappedRingKey: wrapped,
        };
        await store.replaceKeyRing(sealKeyRing(header, keys, ringKey));
      } finally {
        wipe(ringKey);
      }
      const left = fresh.filter((key) => !isSameMasterKey(key.masterKeyArn, masterKeyArn)).length;
      const others = left === 0 ? '' : `; ${left} under other master keys are not in it`;
      log('note', `sealed ${keys.length} key versions into ${KEY_RING_FILE}${others}`);
    } finally {
      before?.wipe();
    }
  }

  /** Undefined when there is no ring. @throws KeyError */
  async #open(listing: Listing, deadline: Deadline): Promise<OpenedRing | undefined> {
    const bytes = await this.#parts.store.readKeyRing(maxKeyRingBytes(listing.stored.length));
    if (bytes === undefined) return undefined;
    const ring = parseKeyRing(bytes);
    this.#assertOfSettings(ring);
    // While KMS is asked, the files are read.
    const [unwrapped, checked] = await Promise.allSettled([
      this.#unwrapRingKey(ring, deadline),
      this.#assertUnchanged(ring),
    ]);
    if (unwrapped.status === 'rejected') throw unwrapped.reason;
    const ringKey = unwrapped.value;
    try {
      if (checked.status === 'rejected') throw checked.reason;
      return opened(ring, ring.open(ringKey), listing);
    } finally {
      wipe(ringKey);
    }
  }

  #assertOfSettings({ header }: ClosedKeyRing): void {
    const settings = this.#parts.settings();
    if (header.masterKeyId !== settings.masterKeyId) {
      const names = `"${header.masterKeyId}" when it was written, now it is "${settings.masterKeyId}"`;
      throw keyRingUnusable(`aws_key_management_master_key_id was ${names}`);
    }
    if (!isSameContext(header.encryptionContext, settings.encryptionContext)) {
      throw keyRingUnusable('aws_key_management_encryption_context was another when it was written');
    }
  }

  async #unwrapRingKey({ header }: ClosedKeyRing, deadline: Deadline): Promise<Buffer> {
    const { kms, settings } = this.#parts;
    const request = {
      wrapped: header.wrappedRingKey,
      masterKeyArn: header.masterKeyArn,
      keySpec: 'AES_256',
      keyCheckValue: undefined,
      encryptionContext: keyRingContext(settings().encryptionContext),
    } as const;
    return (await kms.decrypt(SUBJECT, request, deadline)).plaintext;
  }

  /** Each wrapped key that the ring speaks for is there, and is the very one. */
  async #assertUnchanged({ names, hasSha256 }: ClosedKeyRing): Promise<void> {
    await this.#parts.store.digest(names, (index, digest) => {
      const name = names[index];
      if (name === undefined) return;
      if (digest === undefined) throw keyRingUnusable(`${describeKey(name)}: ${keyFileName(name)} cannot be read`);
      if (hasSha256(index, digest)) return;
      throw keyRingUnusable(`${describeKey(name)}: ${keyFileName(name)} is another than when it was written`);
    });
  }
}

function opened({ header, names, wrappedSha256 }: ClosedKeyRing, open: OpenKeyRing, { stored }: Listing): OpenedRing {
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

/** Both in ascending order. */
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
