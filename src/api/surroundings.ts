import { type FileSystem, nodeFileSystem } from '../disk/file-system.ts';
import { KeyError, toKeyError } from '../errors.ts';
import { trustedCertificates } from '../kms/aws/trusted-certificates.ts';
import { printable } from '../printable.ts';
import { Secrets } from '../secrets.ts';
import { systemClock, systemRandom } from '../system-clock.ts';

/** The machine and the environment of the process that uses the library. Nothing of it is changed. */
export function systemSurroundings() {
  const secrets = new Secrets();
  secrets.addEnvironment(process.env);
  const fileSystem: FileSystem = nodeFileSystem;
  return { clock: systemClock, random: systemRandom, fileSystem, environment: process.env, secrets };
}

export type ApiSurroundings = ReturnType<typeof systemSurroundings>;

/** The parts that a connection to AWS uses. @throws KeyError BAD_OPTION for an unusable bundle */
export function awsSurroundings({ environment, clock, secrets }: ApiSurroundings) {
  return { proxyEnvironment: environment, trustedCertificates: trustedCertificates(environment), clock, secrets };
}

/** Returns the text as one line without secrets. */
export function redacted(text: string, { secrets }: ApiSurroundings): string {
  return printable(secrets.redact(text));
}

/**
 * Does the work, and throws KeyErrors without secrets. They have no cause: requests and answers hang on it, and
 * Node.js prints them with the error.
 */
export async function guarded<T>(surroundings: ApiSurroundings, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw withoutSecrets(toKeyError(thrown), surroundings);
  }
}

/** The error with its texts redacted, and without its cause. */
export function withoutSecrets({ code, message, hint, failure }: KeyError, surroundings: ApiSurroundings): KeyError {
  return new KeyError(code, redacted(message, surroundings), {
    hint: redacted(hint, surroundings),
    failure: failure && { ...failure, message: redacted(failure.message, surroundings) },
  });
}
