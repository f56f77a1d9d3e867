/** The stored key versions with what their sidecars say. No key is unwrapped. */
import { type KeyError, toKeyError } from '../../errors.ts';
import type { EncryptionAlgorithm } from '../../format/encryption-algorithm.ts';
import { algorithmOf, type EncryptionContext } from '../../format/encryption-context.ts';
import { compareKeyNames, type KeyName } from '../../format/key-file-name.ts';
import { keySpecLength } from '../../format/sidecar.ts';
import { type KeyId, keyVersion } from '../../ids.ts';
import { gaps, latestVersions } from '../../keyring/versions.ts';
import type { KeyStore, Listing } from '../../keystore/store.ts';

/** `lost`: only the sidecar is there. `missing`: a later version is stored. `unreadable`: see `problem`. */
export type VersionState = 'latest' | 'older' | 'lost' | 'missing' | 'unreadable' | 'retired';

export interface VersionFacts {
  readonly name: KeyName;
  readonly state: VersionState;
  /** The following are undefined without a usable sidecar. */
  readonly bits?: number | undefined;
  readonly algorithm?: EncryptionAlgorithm | undefined;
  readonly masterKeyArn?: string | undefined;
  readonly context?: EncryptionContext | undefined;
  /** ISO 8601, UTC. */
  readonly created?: string | undefined;
  readonly requestId?: string | undefined;
  /** The reason why the key file or its sidecar is unusable. */
  readonly problem?: KeyError | undefined;
}

/** Missing versions of one key id to list: a damaged name may claim any number. */
const MOST_MISSING = 1_000;

/**
 * Reads all versions, or those of one key id, in their order.
 * @param retired the directory of retired versions, as a store
 * @throws KeyError STORE_UNAVAILABLE where the store cannot be listed
 */
export async function readVersions(store: KeyStore, retired: KeyStore, id?: KeyId): Promise<readonly VersionFacts[]> {
  const listing = await store.list();
  const latest = latestVersions(listing);
  const isAsked = (name: KeyName): boolean => id === undefined || name.id === id;
  const names = listing.stored.filter(isAsked);
  const found: VersionFacts[] = listing.lost.filter(isAsked).map((name) => ({ name, state: 'lost' }));
  const stateOf = ({ name, isRead }: Read): VersionState => {
    if (!isRead) return 'unreadable';
    return latest.get(name.id) === name.version ? 'latest' : 'older';
  };
  for (const { isRead, ...facts } of await readEach(store, names))
    found.push({ ...facts, state: stateOf({ ...facts, isRead }) });
  for (const { isRead: _, ...facts } of await readEach(retired, listing.retired.filter(isAsked)))
    found.push({ ...facts, state: 'retired' });
  found.push(...missingIn(listing, isAsked).map((name): VersionFacts => ({ name, state: 'missing' })));
  return found.sort((a, b) => compareKeyNames(a.name, b.name));
}

type Read = Omit<VersionFacts, 'state'> & { readonly isRead: boolean };

async function readEach(store: KeyStore, names: readonly KeyName[]): Promise<readonly Read[]> {
  const found: Read[] = [];
  const end = store.readAhead(names);
  try {
    for (const name of names) found.push(await readOne(store, name));
  } finally {
    end();
  }
  return found;
}

async function readOne(store: KeyStore, name: KeyName): Promise<Read> {
  try {
    const { sidecar, sidecarProblem: problem } = await store.readToUnwrap(name);
    if (sidecar === undefined) return { name, problem, isRead: true };
    const { keySpec, encryptionContext: context, masterKeyArn, created, requestId } = sidecar;
    const bits = keySpecLength(keySpec) * 8;
    return { name, bits, algorithm: algorithmOf(context), masterKeyArn, context, created, requestId, isRead: true };
  } catch (error) {
    return { name, problem: toKeyError(error), isRead: false };
  }
}

function missingIn(listing: Listing, isAsked: (name: KeyName) => boolean): readonly KeyName[] {
  return gaps(listing).flatMap(({ id, first, last }) => {
    if (!isAsked({ id, version: first })) return [];
    const count = Math.min(last - first + 1, MOST_MISSING);
    return Array.from({ length: count }, (_, at) => ({ id, version: keyVersion(first + at) }));
  });
}
