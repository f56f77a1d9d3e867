/** See kms-process.ts. Ends when its parent does. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keyCheckValue, wipe } from '../../src/bytes.ts';
import { systemClock } from '../../src/cli/system.ts';
import { keyContext } from '../../src/format/encryption-context.ts';
import { type KeyName, keyFileName, sidecarFileName } from '../../src/format/key-file-name.ts';
import { formatSidecar } from '../../src/format/sidecar.ts';
import { keyId, keyVersion } from '../../src/ids.ts';
import { startDevKms } from '../../src/kms/embedded/index.ts';

export type Question =
  | { readonly type: 'url' }
  | { readonly type: 'latency'; readonly ms: number }
  | { readonly type: 'take calls' }
  | { readonly type: 'make keys'; readonly directory: string; readonly ids: number; readonly versions: number };

const ALIAS = 'alias/mariadb-encryption';
const REGION = 'us-east-1';
let calls = 0;
const { kms, url, faults } = await startDevKms({
  clock: systemClock,
  aliases: [ALIAS],
  onCall: () => {
    calls += 1;
  },
});

function answer(question: Question): string | number {
  switch (question.type) {
    case 'url':
      return url;
    case 'latency':
      faults.set(question.ms === 0 ? [] : [{ kind: 'latency', ms: question.ms }]);
      return '';
    case 'take calls': {
      const taken = calls;
      calls = 0;
      return taken;
    }
    case 'make keys':
      mkdirSync(question.directory, { recursive: true, mode: 0o700 });
      for (let id = 1; id <= question.ids; id += 1) {
        for (let version = 1; version <= question.versions; version += 1) {
          makeKey(question.directory, { id: keyId(id), version: keyVersion(version) });
        }
      }
      return '';
  }
}

/** What the agent makes, without its care for what is on disk: nobody minds when these are lost. */
function makeKey(directory: string, name: KeyName): void {
  const encryptionContext = keyContext({}, name);
  const request = { region: REGION, keyId: ALIAS, keySpec: 'AES_128', encryptionContext } as const;
  const { ciphertextBlob, keyId: masterKeyArn } = kms.generateDataKeyWithoutPlaintext(request);
  const { plaintext } = kms.decrypt({ region: REGION, ciphertextBlob, encryptionContext });
  const sidecar = {
    masterKeyArn,
    keySpec: 'AES_128',
    created: new Date().toISOString(),
    wrappedSha256: createHash('sha256').update(ciphertextBlob).digest('hex'),
    requestId: '',
    encryptionContext,
    keyCheckValue: keyCheckValue(plaintext),
  } as const;
  wipe(plaintext);
  writeFileSync(join(directory, keyFileName(name)), ciphertextBlob, { mode: 0o600 });
  writeFileSync(join(directory, sidecarFileName(name)), formatSidecar(name, sidecar), { mode: 0o600 });
}

process.on('message', (question: Question) => void process.send?.(answer(question)));
process.on('disconnect', () => process.exit(0));
