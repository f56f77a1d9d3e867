/** The settings of a HELLO (docs/protocol.md) of a server that sets nothing but its master key, with `changes`. */
export function helloSettings(changes: Readonly<Record<string, string>> = {}): Map<string, string> {
  return new Map(
    Object.entries({
      master_key_id: 'alias/mariadb-encryption',
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
      ...changes,
    }),
  );
}
