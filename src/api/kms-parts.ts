import { KeyError } from '../errors.ts';
import type { KmsCaller } from '../kms/caller.ts';
import type { ApiSurroundings } from './surroundings.ts';

/** The parts behind a `Kms`, which a keyring uses. */
export interface KmsParts {
  readonly caller: KmsCaller;
  readonly surroundings: ApiSurroundings;
  /** Aborted by `close`. */
  readonly closing: AbortSignal;
}

const PARTS = new WeakMap<object, KmsParts>();

export function keepParts<Kms extends object>(kms: Kms, parts: KmsParts): Kms {
  PARTS.set(kms, parts);
  return kms;
}

/** @throws KeyError BAD_OPTION */
export function partsOf(kms: object): KmsParts {
  const parts = PARTS.get(kms);
  if (parts === undefined) throw new KeyError('BAD_OPTION', '"kms" expected what createKms returned');
  return parts;
}
