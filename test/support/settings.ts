import { parseKeyIdSet } from '../../src/ids.ts';
import type { Settings } from '../../src/keyring/settings.ts';

/** Those of a server that sets nothing but its master key, with its keys in /keys. */
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

/** As the plugin sends them. */
export function settingValues(changed: Readonly<Record<string, string>> = {}): ReadonlyMap<string, string> {
  return new Map(
    Object.entries({
      master_key_id: 'alias/a',
      key_spec: 'AES_128',
      log_level: 'Off',
      region: '',
      endpoint_url: '',
      request_timeout: '0',
      mock: 'OFF',
      keyfile_dir: '/keys',
      key_ids: '',
      allow_missing_keys: 'OFF',
      encryption_context: '',
      failover_regions: '',
      encryption_algorithm: 'AES_CBC',
      sealed_key_ring: 'OFF',
      ...changed,
    }),
  );
}
