/** The embedded KMS in a separate process, so that its work is not counted as the measured process's. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Question } from './kms-child.ts';
import type { TlsConnections, TlsOptions } from './replaying-kms.ts';

export interface KmsProcess {
  readonly url: string;
  /** Sets the latency of every later answer. */
  setLatency(ms: number): Promise<void>;
  /** Returns the number of calls since the last time. */
  takeCalls(): Promise<number>;
  /** Listens for TLS connections as well. @returns the URL */
  listenTls(tls: TlsOptions): Promise<string>;
  /** Returns the connections over TLS since the last time. */
  takeConnections(): Promise<TlsConnections>;
  /** Starts an instance metadata service, whose credentials this KMS accepts. @returns the URL */
  instanceMetadata(): Promise<string>;
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
    listenTls: (tls) => ask({ type: 'listen', tls }),
    takeConnections: async () => {
      const { all, resumed }: Record<string, unknown> = JSON.parse(await ask({ type: 'take connections' }));
      return { all: Number(all), resumed: Number(resumed) };
    },
    instanceMetadata: () => ask({ type: 'instance metadata' }),
    makeKeys: async (directory, ids, versions) => void (await ask({ type: 'make keys', directory, ids, versions })),
    close: async () => {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}
