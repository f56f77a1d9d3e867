import { parseKeyIdSet } from '../../src/ids.ts';
import type { Settings } from '../../src/keyring/settings.ts';

/** Settings of a server that sets nothing but its master key, with its keys in /keys. */
export const TEST_SETTINGS: Settings = {
  masterKeyId: 'alias/a',
  keySpec: 'AES_128',
  encryptionAlgorithm: 'AES_CBC',
  logLevel: 'Off',
  keyIds: parseKeyIdSet(''),
  region: '',
  endpointUrl: '',
  requestTimeoutMs: 0,
  mock: false,
  keyfileDir: '/keys',
  allowMissingKeys: false,
  sealedKeyRing: false,
  encryptionContext: {},
  failoverRegions: [],
};
