/**
 * Creates thousands of stored key versions within a moment: files as the agent writes them, made by the embedded KMS
 * itself.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyCheckValue } from '../src/bytes.ts';
import { DEFAULT_REGION, type DevKms } from '../src/dev-kms/index.ts';
import { keyFileName, sidecarFileName } from '../src/format/key-file-name.ts';
import { formatSidecar } from '../src/format/sidecar.ts';
import { keyId, keyVersion } from '../src/ids.ts';

export interface Shape {
  readonly ids: number;
  /** Versions of each key. */
  readonly versions: number;
}

export function versionsOf({ ids, versions }: Shape): number {
  return ids * versions;
}

/** @returns for each key its wrapped bytes, its data key and its master key, as the stand-in of KMS reads them */
export function storeKeys(directory: string, { ids, versions }: Shape, kms: DevKms, masterKeyId: string): string {
  let answers = '';
  const request = { region: DEFAULT_REGION, keyId: masterKeyId, keySpec: 'AES_128' } as const;
  for (let id = 1; id <= ids; id += 1) {
    for (let version = 1; version <= versions; version += 1) {
      const name = { id: keyId(id), version: keyVersion(version) };
      const { ciphertextBlob, keyId: masterKeyArn } = kms.kms.generateDataKeyWithoutPlaintext(request);
      const { plaintext } = kms.kms.decrypt({ region: DEFAULT_REGION, ciphertextBlob });
      const sidecar = formatSidecar(name, {
        masterKeyArn,
        keySpec: request.keySpec,
        created: new Date().toISOString(),
        wrappedSha256: createHash('sha256').update(ciphertextBlob).digest('hex'),
        requestId: '',
        encryptionContext: {},
        keyCheckValue: keyCheckValue(plaintext),
      });
      writeFileSync(join(directory, keyFileName(name)), ciphertextBlob, { mode: 0o600 });
      writeFileSync(join(directory, sidecarFileName(name)), sidecar, { mode: 0o600 });
      answers += `${[ciphertextBlob, plaintext].map((bytes) => Buffer.from(bytes).toString('base64')).join(' ')} ${masterKeyArn}\n`;
    }
  }
  return answers;
}

/** The file beside a key directory that the stand-in of KMS answers from. */
export function answersOf(directory: string): string {
  return `${directory}.answers`;
}
