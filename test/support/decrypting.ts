import { execFile } from 'node:child_process';
import { COMMAND, PATH, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';

const ENVIRONMENT = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
const MOST_OUTPUT = 2 ** 28;

export interface Ended {
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program that may ask a KMS in this process. */
export async function runToEnd(program: string, ...args: readonly string[]): Promise<Ended> {
  return await new Promise((resolve) => {
    execFile(program, args, { env: ENVIRONMENT, maxBuffer: MOST_OUTPUT }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr });
    });
  });
}

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
