import { type Ended, runToEnd } from '../../harness/run-to-end.ts';
import { COMMAND } from '../../harness/scratch-server.ts';

/** Runs `decrypt` with the keys of a key directory and a KMS. */
export async function decrypt(kind: string, keys: string, kmsUrl: string, ...more: readonly string[]): Promise<Ended> {
  return await runToEnd(COMMAND, 'decrypt', kind, ...keyOptions(keys, kmsUrl), ...more);
}

export function keyOptions(keys: string, kmsUrl: string): readonly string[] {
  return ['--no-defaults', '--keyfile-dir', keys, '--endpoint-url', kmsUrl];
}

/** Runs a script for bash, in which a pipe fails if any of its programs does. */
export async function runScript(script: string, ...args: readonly string[]): Promise<Ended> {
  return await runToEnd('bash', '--norc', '-c', `set -o pipefail; ${script}`, 'bash', ...args);
}
