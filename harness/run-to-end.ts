/** Programs that are run to their end, with the credentials of the tests. */
import { execFile } from 'node:child_process';
import { PATH, TEST_CREDENTIALS } from './scratch-server.ts';

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
