/** The embedded KMS in a separate process, so that its work is not counted as the measured process's. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Question } from './kms-child.ts';

export interface KmsProcess {
  readonly url: string;
  /** Sets the latency of every later answer. */
  setLatency(ms: number): Promise<void>;
  /** Returns the number of calls since the last time. */
  takeCalls(): Promise<number>;
  /** Wrapped keys with their sidecars, of ids and versions from 1. */
  makeKeys(directory: string, ids: number, versions: number): Promise<void>;
  close(): Promise<void>;
}

export async function startKmsProcess(): Promise<KmsProcess> {
  const child = fork(join(import.meta.dirname, 'kms-child.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ask = async (question: Question): Promise<string> => {
    child.send(question);
    const [answer]: unknown[] = await once(child, 'message');
    return String(answer);
  };
  return {
    url: await ask({ type: 'url' }),
    setLatency: async (ms) => void (await ask({ type: 'latency', ms })),
    takeCalls: async () => Number(await ask({ type: 'take calls' })),
    makeKeys: async (directory, ids, versions) => void (await ask({ type: 'make keys', directory, ids, versions })),
    close: async () => {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}
