/** Keys of files that are fuzzed. */
import type { DataKeys } from '../../src/decrypt/data-keys.ts';
import { KeyError } from '../../src/errors.ts';
import { ENCRYPTION_ALGORITHMS } from '../../src/format/encryption-algorithm.ts';
import { MADE_KEYS } from './data-seeds.ts';

const [MADE_ID, LAST_VERSION, REFUSED_VERSION] = [5, 2, 4];
const bytes = new Map<number, Buffer>();

/** Keys of the made tablespaces, and key N of 16 bytes N for files of a server. Version 4 is one that KMS refuses. */
export const ANY_KEYS: DataKeys = {
  place: 'keys.txt',
  candidates: (id, version) => {
    if (version === REFUSED_VERSION)
      return Promise.reject(new KeyError('KMS_OPERATOR', `key ${id} version ${version}: KMS denied Decrypt`));
    if (version > LAST_VERSION) return Promise.resolve([]);
    if (id === MADE_ID && version === LAST_VERSION) return Promise.resolve(MADE_KEYS);
    const key = bytes.get(id & 0xff) ?? Buffer.alloc(16, id);
    bytes.set(id & 0xff, key);
    const known = ENCRYPTION_ALGORITHMS.map((algorithm) => ({ bytes: key, algorithm }));
    return Promise.resolve([...MADE_KEYS, ...known]);
  },
  wipe: () => undefined,
};
