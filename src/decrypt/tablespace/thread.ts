/** The main module of a thread that reads pages. */
import { parentPort } from 'node:worker_threads';
import { wipe } from '../../bytes.ts';
import { systemErrorCode } from '../../errors.ts';
import type { DataKey } from '../../format/encryption-scheme.ts';
import type { FromThread, ToThread } from './messages.ts';
import { Pages } from './pages.ts';
import { stopFor } from './stop-for.ts';

let current: { readonly file: number; readonly pages: Pages } | undefined;
let answer: ((keys: readonly DataKey[]) => void) | undefined;
const known: Uint8Array[] = [];

parentPort?.on('message', (message: ToThread) => {
  if (message.kind === 'range') void read(message);
  else {
    for (const { bytes } of message.keys) known.push(bytes);
    answer?.(message.keys);
  }
});

async function read({ file, space, from, to }: Extract<ToThread, { kind: 'range' }>): Promise<void> {
  try {
    if (current?.file !== file) {
      endFile();
      current = { file, pages: new Pages(space, askForKeys, stopFor) };
    }
    send({ kind: 'done', result: await current.pages.range(from, to) });
  } catch (thrown) {
    endFile();
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    send({ kind: 'failed', code: systemErrorCode(thrown), message });
  }
}

function askForKeys(version: number): Promise<readonly DataKey[]> {
  const asked = Promise.withResolvers<readonly DataKey[]>();
  answer = asked.resolve;
  send({ kind: 'keys', version });
  return asked.promise;
}

function endFile(): void {
  current?.pages.wipe();
  current = undefined;
  for (const bytes of known.splice(0)) wipe(bytes);
}

function send(message: FromThread): void {
  parentPort?.postMessage(message);
}
