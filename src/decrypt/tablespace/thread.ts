/** The main module of a thread that reads pages. */
import { parentPort } from 'node:worker_threads';
import { wipe } from '../../bytes.ts';
import { systemErrorCode } from '../../errors.ts';
import type { DataKey } from '../../format/encryption-scheme.ts';
import type { FromThread, ToThread } from './messages.ts';
import { OutputError } from './pages.ts';
import { SpaceReader } from './reader.ts';

let answer: ((keys: readonly DataKey[]) => void) | undefined;
const known: Uint8Array[] = [];
const reader = new SpaceReader(() => {
  for (const bytes of known.splice(0)) wipe(bytes);
});

parentPort?.on('message', (message: ToThread) => {
  if (message.kind === 'range') void read(message);
  else {
    for (const { bytes } of message.keys) known.push(bytes);
    answer?.(message.keys);
  }
});

async function read({ file, space, from, to }: Extract<ToThread, { kind: 'range' }>): Promise<void> {
  try {
    send({ kind: 'done', result: await reader.range(file, space, askForKeys, from, to) });
  } catch (thrown) {
    reader.end();
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    send({ kind: 'failed', isOutput: thrown instanceof OutputError, code: systemErrorCode(thrown), message });
  }
}

function askForKeys(version: number): Promise<readonly DataKey[]> {
  const asked = Promise.withResolvers<readonly DataKey[]>();
  answer = asked.resolve;
  send({ kind: 'keys', version });
  return asked.promise;
}

function send(message: FromThread): void {
  parentPort?.postMessage(message);
}
