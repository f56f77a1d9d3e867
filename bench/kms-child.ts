/** See kms-process.ts. Ends when its parent does. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { MASTER_KEY, startCountedKms } from './counted-kms.ts';
import { startInstanceMetadata } from './instance-metadata.ts';
import { startReplayingKms, type TlsOptions } from './replaying-kms.ts';
import { answersOf, storeKeys } from './stored-keys.ts';

export type Question =
  | { readonly type: 'url' }
  | { readonly type: 'latency'; readonly ms: number }
  | { readonly type: 'take calls' }
  | { readonly type: 'listen'; readonly tls: TlsOptions }
  | { readonly type: 'take connections' }
  | { readonly type: 'instance metadata' }
  | { readonly type: 'make keys'; readonly directory: string; readonly ids: number; readonly versions: number };

const { kms, count } = await startCountedKms();
const replaying = await startReplayingKms(Number(new URL(kms.url).port));
const allCalls = (): number => count() + replaying.replayed();
let before = 0;

async function answer(question: Question): Promise<string | number> {
  switch (question.type) {
    case 'url':
      return replaying.url;
    case 'latency':
      replaying.latencyMs = question.ms;
      kms.faults.set(question.ms === 0 ? [] : [{ kind: 'latency', ms: question.ms }]);
      return '';
    case 'take calls': {
      const taken = allCalls() - before;
      before += taken;
      return taken;
    }
    case 'listen':
      return await replaying.listenTls(question.tls);
    case 'take connections':
      return JSON.stringify(replaying.takeConnections());
    case 'instance metadata':
      return await startInstanceMetadata();
    case 'make keys':
      mkdirSync(question.directory, { recursive: true, mode: 0o700 });
      writeFileSync(
        answersOf(question.directory),
        storeKeys(question.directory, { ids: question.ids, versions: question.versions }, kms, MASTER_KEY),
        { mode: 0o600 },
      );
      return '';
  }
}

process.on('message', (question: Question) => void answer(question).then((text) => process.send?.(text)));
process.on('disconnect', () => process.exit(0));
