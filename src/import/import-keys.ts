import { forEachBounded } from '../bounded.ts';
import { keyCheckValue, wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { type EncryptionContext, keyContext } from '../format/encryption-context.ts';
import { compareKeyNames, describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { DATA_KEY_SPECS, type DataKeySpec, keySpecLength } from '../format/sidecar.ts';
import { writtenTime } from '../format/written-time.ts';
import { unwrapStoredKey } from '../keyring/unwrap.ts';
import type { KeyStore } from '../keystore/store.ts';
import { isCredentialFailure } from '../kms/failures/classify.ts';
import type { OperatorCaller } from '../kms/operator-caller.ts';
import { startDeadline } from '../kms/retry.ts';
import type { ForeignKey } from './imported-key.ts';

export interface ImportRequest {
  readonly store: KeyStore;
  readonly keys: readonly ForeignKey[];
  readonly algorithm: EncryptionAlgorithm;
  /** Key id, key ARN, alias name or alias ARN. */
  readonly masterKeyId: string;
  /** The configured pairs; each key is bound to its id and version as the server binds new keys. */
  readonly context: EncryptionContext;
  readonly isDryRun: boolean;
  /** Ends the work between two keys. */
  readonly signal: AbortSignal;
}

export interface ImportParts {
  readonly kms: OperatorCaller;
  readonly clock: Clock;
  readonly progress: (done: number, of: number) => void;
}

export interface ImportResult {
  /** Versions that were stored; in a dry run, those that would be. */
  readonly imported: readonly KeyName[];
  /** Versions that were there, with the same data key. */
  readonly already: readonly KeyName[];
  readonly problems: readonly KeyError[];
  /** Versions that were not tried after a failure that applies to all, or an interruption. */
  readonly untried: readonly KeyName[];
  readonly requestIds: readonly string[];
}

/** Milliseconds for the calls of one version. */
const KEY_MS = 30_000;

/**
 * Stores data keys that exist already: KMS wraps each, unwraps the bytes that were stored, and only when these are the same
 * data key does the file get its name. An interrupted run leaves whole files, and the next one goes on.
 * @throws KeyError KEY_EXISTS where the directory has another key of that name, or other keys; KEY_FILE_MISSING,
 * STORE_UNAVAILABLE, KMS_… of stored keys; nothing was written then
 */
export async function importKeys(request: ImportRequest, parts: ImportParts): Promise<ImportResult> {
  const { store, keys, isDryRun, signal } = request;
  const work = new Import(request, parts);
  const already = await work.lookAtStore();
  const wanted = keys.filter(({ id, version }) => !already.has(keyFileName({ id, version })));
  const done = { imported: [] as KeyName[], problems: [] as KeyError[], untried: [] as KeyName[] };
  if (isDryRun) {
    const [first] = wanted;
    if (first !== undefined) await work.rehearse(first);
    return { ...done, imported: names(wanted), already: names(keys, already), requestIds: [] };
  }
  const requestIds: string[] = [];
  let isOver = false;
  await forEachBounded(wanted, parts.kms.room, async (key) => {
    const name = { id: key.id, version: key.version };
    if (isOver || signal.aborted) {
      done.untried.push(name);
      return;
    }
    try {
      requestIds.push(await work.store(key));
      done.imported.push(name);
      parts.progress(done.imported.length, wanted.length);
    } catch (thrown) {
      if (signal.aborted) {
        done.untried.push(name);
        return;
      }
      const error = toKeyError(thrown);
      isOver ||= hitsAll(error);
      done.problems.push(error);
    }
  });
  await store.sync();
  for (const list of [done.imported, done.untried]) list.sort(compareKeyNames);
  return { ...done, already: names(keys, already), requestIds };
}

class Import {
  readonly #request: ImportRequest;
  readonly #parts: ImportParts;

  constructor(request: ImportRequest, parts: ImportParts) {
    this.#request = request;
    this.#parts = parts;
  }

  /** Compares the stored keys with those to import. @returns the file names of those that are there */
  async lookAtStore(): Promise<ReadonlySet<string>> {
    const { store, keys } = this.#request;
    const { stored, lost, retired } = await store.list();
    const wanted = new Map(keys.map((key) => [keyFileName(key), key]));
    // The number of a retired version is never used for another key.
    const [away] = retired;
    if (away !== undefined) throw retiredKey(away, store.place);
    const stranger = [...stored, ...lost].find((name) => !wanted.has(keyFileName(name)));
    if (stranger !== undefined) throw otherKeys(stranger, store.place);
    const [gone] = lost;
    if (gone !== undefined) throw lostFile(gone, store.place);
    const already = new Set<string>();
    const problems: KeyError[] = [];
    await forEachBounded(stored, this.#parts.kms.room, async (name) => {
      const key = wanted.get(keyFileName(name));
      if (key === undefined || problems.length > 0) return;
      try {
        await this.#compare(name, key);
        already.add(keyFileName(name));
      } catch (thrown) {
        problems.push(toKeyError(thrown));
      }
    });
    const [problem] = problems;
    if (problem !== undefined) throw problem;
    return already;
  }

  async #compare(name: KeyName, key: ForeignKey): Promise<void> {
    const { store, context, algorithm, isDryRun } = this.#request;
    const { kms, clock } = this.#parts;
    const stored = await store.read(name);
    const deadline = startDeadline(clock, KEY_MS, this.#request.signal);
    try {
      const opened = await unwrapStoredKey(kms, context, name, stored, deadline);
      try {
        if (!opened.plaintext.equals(key.bytes)) throw otherKey(name, 'another data key', store.place);
        if (opened.algorithm !== algorithm)
          throw otherKey(
            name,
            `this data key for ${opened.algorithm}, and the data is encrypted with ${algorithm}`,
            store.place,
          );
        // An interrupted run may have stored the key file alone.
        if (stored.sidecar !== undefined || stored.sidecarProblem !== undefined || isDryRun) return;
        const { masterKeyArn, encryptionContext } = opened;
        const facts = {
          masterKeyArn,
          encryptionContext,
          keySpec: specOf(key),
          keyCheckValue: keyCheckValue(key.bytes),
        };
        await store.addSidecar(name, stored.wrapped, facts);
      } finally {
        wipe(opened.plaintext);
      }
    } finally {
      deadline.cancel();
    }
  }

  /** Asks KMS whether it would wrap and unwrap this key, and sends it none. */
  async rehearse({ id, version }: ForeignKey): Promise<void> {
    const { masterKeyId, context, algorithm } = this.#request;
    const { kms, clock } = this.#parts;
    const deadline = startDeadline(clock, KEY_MS, this.#request.signal);
    const encryptionContext = keyContext(context, { id, version }, algorithm);
    try {
      await kms
        .rehearseEncrypt(this.#subject({ id, version }), { masterKeyId, encryptionContext }, deadline)
        .catch(denied);
    } finally {
      deadline.cancel();
    }
  }

  /** @returns KMS's request id of Encrypt */
  async store(key: ForeignKey): Promise<string> {
    const { store, masterKeyId, context, algorithm } = this.#request;
    const { kms, clock } = this.#parts;
    const name = { id: key.id, version: key.version };
    const encryptionContext = keyContext(context, name, algorithm);
    const keySpec = specOf(key);
    const expected = keyCheckValue(key.bytes);
    const subject = this.#subject(name);
    const deadline = startDeadline(clock, KEY_MS, this.#request.signal);
    try {
      const made = await kms
        .encrypt(subject, { masterKeyId, plaintext: key.bytes, encryptionContext }, deadline)
        .catch(denied);
      const { masterKeyArn, requestId } = made;
      return await store.create({
        name,
        wrapped: made.wrapped,
        sidecar: { masterKeyArn, keySpec, created: writtenTime(clock.wallMs()), requestId, encryptionContext },
        verify: async (wrapped) => {
          const request = { wrapped, masterKeyArn, keySpec, keyCheckValue: expected, encryptionContext };
          const { plaintext } = await kms.decrypt(subject, request, deadline).catch(denied);
          try {
            if (!plaintext.equals(key.bytes)) throw notTheSame(name);
          } finally {
            wipe(plaintext);
          }
          return { value: requestId, keyCheckValue: expected, discard: () => undefined };
        },
        report: (problem) => {
          throw problem;
        },
      });
    } finally {
      deadline.cancel();
    }
  }

  #subject(name: KeyName): string {
    return `${describeKey(name)} (master key ${this.#request.masterKeyId})`;
  }
}

function specOf({ bytes }: ForeignKey): DataKeySpec {
  const spec = DATA_KEY_SPECS.find((each) => keySpecLength(each) === bytes.length);
  if (spec === undefined) throw new Error(`"data key" expected 16, 24 or 32 bytes, got ${bytes.length}`);
  return spec;
}

function names(keys: readonly ForeignKey[], among?: ReadonlySet<string>): readonly KeyName[] {
  return keys
    .map(({ id, version }) => ({ id, version }))
    .filter((name) => among === undefined || among.has(keyFileName(name)))
    .sort(compareKeyNames);
}

/** Tells whether every other version would fail in the same way. */
function hitsAll({ code, failure }: KeyError): boolean {
  if (['KMS_TRANSIENT', 'TIMEOUT', 'STORE_UNAVAILABLE', 'KMS_OPERATOR'].includes(code)) return true;
  return failure !== undefined && isCredentialFailure(failure);
}

const OWN_CREDENTIALS =
  'import uses the credentials of whoever runs it: export AWS_PROFILE, or AWS_SHARED_CREDENTIALS_FILE, or the access key of an identity that may call Encrypt and Decrypt';

/** Throws a refusal again, with a hint for whoever runs this: the server's identity needs no Encrypt. */
export function denied(thrown: unknown): never {
  const error = toKeyError(thrown);
  if (error.failure?.name === 'CredentialsProviderError') throw error.hinted(OWN_CREDENTIALS);
  if (error.failure?.group !== 'permission') throw error;
  throw error.hinted(
    'the identity that runs this needs kms:Encrypt and kms:Decrypt on the master key, for as long as it runs; print the policy: mariadb-aws-kms policy --for import --master-key-arn ARN',
  );
}

function otherKeys(name: KeyName, place: string): KeyError {
  const text = `${place} has ${describeKey(name)}, which is none of the keys to import`;
  return new KeyError('KEY_EXISTS', text, {
    hint: 'these are keys of another server, or this server has used them since an earlier import: if that is done, nothing is left to import; if not, name a directory of its own: --keyfile-dir DIRECTORY',
  });
}

function retiredKey({ id, version }: KeyName, place: string): KeyError {
  return new KeyError('KEY_EXISTS', `${place} has retired key ${id} version ${version}`, {
    hint: `bring it back: mariadb-aws-kms retire --undo ${id}.${version} --keyfile-dir ${place}; or name a directory of its own: --keyfile-dir DIRECTORY`,
  });
}

function otherKey(name: KeyName, what: string, place: string): KeyError {
  const text = `${describeKey(name)}: ${keyFileName(name)} in ${place} holds ${what}`;
  return new KeyError('KEY_EXISTS', text, {
    hint: 'the directory belongs to another server: name one of its own: --keyfile-dir DIRECTORY',
  });
}

function lostFile(name: KeyName, place: string): KeyError {
  const text = `${describeKey(name)}: its sidecar is in ${place}, its key file ${keyFileName(name)} is gone`;
  return new KeyError('KEY_FILE_MISSING', text, {
    hint: 'find out who removed it; if nothing has used the directory yet, move its files aside and run this again',
  });
}

function notTheSame(name: KeyName): KeyError {
  const text = `${describeKey(name)}: KMS unwrapped another data key than it had wrapped`;
  return new KeyError('KMS_BAD_ANSWER', text, { hint: 'nothing was stored; check the endpoint of KMS' });
}
