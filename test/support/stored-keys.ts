import { keyCheckValue } from '../../src/bytes.ts';
import { DEFAULT_REGION } from '../../src/dev-kms/index.ts';
import { sha256 } from '../../src/disk/files.ts';
import type { EncryptionAlgorithm } from '../../src/format/encryption-algorithm.ts';
import { type EncryptionContext, keyContext } from '../../src/format/encryption-context.ts';
import { type KeyName, keyFileName, sidecarFileName } from '../../src/format/key-file-name.ts';
import { formatSidecar } from '../../src/format/sidecar.ts';
import type { EmbeddedClient } from './embedded-client.ts';
import type { MemoryFs } from './memory-fs.ts';

export interface StoredHow {
  readonly alias?: string;
  readonly configured?: EncryptionContext;
  /** Default true; `early`: as an early release wrote it. */
  readonly sidecar?: boolean | 'early';
  readonly algorithm?: EncryptionAlgorithm;
}

/** Stores a key file in /keys as a server does; returns the data key. */
export function storeKey(fs: MemoryFs, { kms }: EmbeddedClient, name: KeyName, how: StoredHow = {}): Buffer {
  const { alias = 'alias/a', configured = {}, sidecar = true, algorithm = 'AES_CBC' } = how;
  const encryptionContext = keyContext(configured, name, algorithm);
  const request = { region: DEFAULT_REGION, keyId: alias, keySpec: 'AES_128', encryptionContext } as const;
  const made = kms.generateDataKeyWithoutPlaintext(request);
  const wrapped = Buffer.from(made.ciphertextBlob);
  const opened = kms.decrypt({ region: DEFAULT_REGION, ciphertextBlob: wrapped, encryptionContext });
  const dataKey = Buffer.from(opened.plaintext);
  put(fs, keyFileName(name), wrapped);
  if (sidecar !== false) {
    const text = formatSidecar(name, {
      masterKeyArn: made.keyId,
      keySpec: 'AES_128',
      created: '2030-01-01T00:00:00.000Z',
      wrappedSha256: sha256(wrapped),
      requestId: 'generate',
      encryptionContext,
      keyCheckValue: sidecar === 'early' ? undefined : keyCheckValue(dataKey),
    });
    put(fs, sidecarFileName(name), Buffer.from(text));
  }
  return dataKey;
}

function put(fs: MemoryFs, file: string, bytes: Buffer): void {
  const stored = { bytes, synced: true };
  fs.files.set(`/keys/${file}`, stored);
  fs.durable.set(`/keys/${file}`, stored);
}
