/** A KMS that takes next to nothing of the processor (`native/kms_stand_in.c`), over plain HTTP or TLS. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { compileNative } from '../harness/native.ts';

export interface Taken {
  readonly calls: number;
  readonly mostAtOnce: number;
  readonly connections: number;
  /** Connections that resumed a TLS session. */
  readonly resumed: number;
  /** CPU time since the last time, milliseconds. */
  readonly cpuMs: number;
}

export interface StandIn {
  readonly url: string;
  /** Answers from such a file as well; see `answersOf`. */
  load(file: string): Promise<void>;
  setLatency(ms: number): Promise<void>;
  /** Returns the figures since the last time. */
  take(): Promise<Taken>;
  close(): Promise<void>;
}

export interface Certificates {
  /** The certificate of the authority, PEM. */
  readonly authority: string;
  readonly chain: string;
  readonly key: string;
}

/** Makes an authority and a certificate for 127.0.0.1, of the kind that KMS has: RSA with 2,048 bits. */
export function makeCertificates(directory: string): Certificates {
  const path = (name: string): string => join(directory, name);
  const openssl = (...args: readonly string[]): void => void execFileSync('openssl', args, { stdio: 'ignore' });
  const made = ['-newkey', 'rsa:2048', '-nodes', '-x509', '-days', '2'];
  openssl('req', ...made, '-subj', '/CN=bench', '-keyout', path('ca.key'), '-out', path('ca.pem'));
  const signed = ['-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-addext', 'subjectAltName=IP:127.0.0.1'];
  openssl('req', ...made, '-subj', '/CN=kms', ...signed, '-keyout', path('kms.key'), '-out', path('kms.pem'));
  return { authority: path('ca.pem'), chain: path('kms.pem'), key: path('kms.key') };
}

/** @param certificates undefined: plain HTTP */
export async function startStandIn(certificates?: Certificates): Promise<StandIn> {
  const program = compileNative(join(import.meta.dirname, 'native/kms_stand_in.c'), 'program', '-O2', [
    '-lssl',
    '-lcrypto',
  ]);
  const args = certificates === undefined ? [] : [certificates.chain, certificates.key];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done === true) throw new Error('the stand-in of KMS ended');
    return value;
  };
  let usedUs = 0;
  const ask = async (command: string): Promise<Taken> => {
    child.stdin.write(`${command}\n`);
    const [calls = 0, mostAtOnce = 0, connections = 0, resumed = 0, us = 0] = (await line()).split(' ').map(Number);
    const cpuMs = (us - usedUs) / 1000;
    if (command === 'take') usedUs = us;
    return { calls, mostAtOnce, connections, resumed, cpuMs };
  };
  const port = await line();
  return {
    url: `${certificates === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    load: async (file) => void (await ask(`load ${file}`)),
    setLatency: async (ms) => void (await ask(`latency ${ms * 1000}`)),
    take: () => ask('take'),
    close: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}
