import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Scene } from '../../../../support/aws-stand-ins/scene.ts';
import { type CallFailure, type FailingCall, failureOf } from '../../../../support/failing-call.ts';

export interface Failed {
  readonly failure: CallFailure;
  /** A regular expression for the text after the failure's name, without the request id. */
  readonly said: string;
  /** The request id; undefined: no answer came, or none of AWS. */
  readonly requestId?: string;
}

/** Makes the real SDK fail in one way. */
export type FailureCase = (scene: Scene) => Promise<Failed>;
export type FailureCases = Readonly<Record<string, FailureCase>>;

/** Makes a call with credentials that KMS accepts. */
export async function failWith(scene: Scene, said: string, call: FailingCall): Promise<Failed> {
  accept(scene);
  return { failure: await failureOf(call), said };
}

export function accept(scene: Scene): void {
  const key = scene.issuer.user();
  scene.environment({ AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey });
}

/**
 * Makes the call in a child process, with separate network and mount namespaces when `network` has commands to set them
 * up.
 */
export async function failInChild(
  scene: Scene,
  said: string,
  child: string,
  { network, argument = '' }: { readonly network?: string; readonly argument?: string } = {},
): Promise<Failed> {
  accept(scene);
  const program = [process.execPath, join(import.meta.dirname, 'children', child), argument];
  const [file = '', ...more] =
    network === undefined
      ? ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh', ...program]
      : ['unshare', '-rnm', 'sh', '-ec', `ip link set lo up; ${network} exec "$@"`, 'sh', ...program];
  const { stdout } = await promisify(execFile)(file, more, { timeout: 30_000 });
  return { failure: JSON.parse(stdout) as CallFailure, said };
}
