import type { KeyError } from '../errors.ts';
import { isCredentialFailure } from '../kms/failures/classify.ts';
import type { KmsFailure } from '../kms-failure.ts';

/** The credentials file of the recommended set-up. */
const CREDENTIALS = 'AWS_SHARED_CREDENTIALS_FILE=/etc/mariadb-aws-kms/credentials';

/** The agent's place: started by the process that asks for keys, or a process of its own with a socket. */
export type AgentPlace = 'spawned' | 'separate';

/**
 * Extends the hint of a failure that may come from the AWS identity that a mariadb-backup has. A mariadb-backup and the
 * agent that it starts have the environment of the user who runs it, without the variables that the service gives the
 * server (credentials, Region, proxies), unless root runs it; the hint tells how to have them. A separate agent has an
 * identity of its own.
 */
export function hintedForBackup(error: KeyError, place: AgentPlace): KeyError {
  const { code, hint, failure } = error;
  if (code !== 'KMS_OPERATOR' && code !== 'KMS_TRANSIENT') return error;
  if (failure === undefined || !mayComeOfEnvironment(failure)) return error;
  const added =
    place === 'separate'
      ? 'the AWS identity is that of the separate agent on the socket, whoever runs mariadb-backup: the variables of its service count'
      : `mariadb-backup has the AWS_* variables of whoever runs it. Without any, and as root, it takes those of the server's service. Run it so, or name the file in which the server has its credentials: \`${CREDENTIALS} mariadb-backup …\`, for a backup into a new directory`;
  return error.hinted(hint === '' ? added : `${added}; otherwise ${hint}`);
}

/**
 * A missing Region variable also counts: in the wrong Region KMS has no such key, and reports only a missing
 * permission.
 */
function mayComeOfEnvironment(failure: KmsFailure): boolean {
  const isOfRegion = failure.group === 'permission' || failure.name === 'NotFoundException';
  return isCredentialFailure(failure) || failure.status === 0 || isOfRegion;
}
