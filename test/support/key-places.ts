import type { FoundUse, KeyNeed } from '../../src/data/look.ts';
import { keyId, keyVersion } from '../../src/ids.ts';
import type { KeyPlace, KeyPlaces } from '../../src/setup/key-places.ts';

interface Played {
  readonly need?: KeyNeed;
  readonly configured?: string;
  readonly isTrial?: boolean;
  /** Ids of the keys that are in these directories, and of those that data uses, all of version 1. */
  readonly held?: Readonly<Record<string, readonly number[]>>;
  readonly used?: readonly number[];
}

/** The result of a look at a server's data and key directories. */
export function placesOf({ need = 'none', configured, isTrial = false, held = {}, used = [] }: Played): KeyPlaces {
  const uses = used.map((id): FoundUse => {
    return { id: keyId(id), version: keyVersion(1), file: `d/t${id}.ibd`, files: 1, pages: [] };
  });
  const place = (directory: string): KeyPlace => {
    const ids = held[directory] ?? [];
    return { directory, versions: ids.length, lacking: uses.filter(({ id }) => !ids.includes(id)) };
  };
  return { need, configured, isTrial, in: place, all: Object.keys(held).map(place) };
}
