import type { KeyError } from '../errors.ts';
import { isCredentialFailure } from '../kms/failures/classify.ts';
import type { KmsFailure } from '../kms-failure.ts';

/** A command for bash. It prints nothing, because the variables that it copies may be secret. */
const TAKE_OVER =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
  'while IFS= read -rd "" v; do [[ ${v%%=*} =~ ^AWS_|PROXY$|proxy$|^SSL_CERT_FILE$ ]] && export "$v"; done < /proc/$(pidof -s mariadbd)/environ';

/** The agent's place: started by the process that asks for keys, or a process of its own with a socket. */
export type AgentPlace = 'spawned' | 'separate';

/**
 * Extends the hint of a failure that may come from the AWS identity that a mariadb-backup has. A mariadb-backup and the
 * agent that it starts have the environment of the user who runs it, without the variables that the service gives the
 * server (credentials, Region, proxies); the hint tells how to take them over. A separate agent has an identity of its own.
 */
export function hintedForBackup(error: KeyError, place: AgentPlace): KeyError {
  const { code, hint, failure } = error;
  if (code !== 'KMS_OPERATOR' && code !== 'KMS_TRANSIENT') return error;
  if (failure === undefined || !mayComeOfEnvironment(failure)) return error;
  const added =
    place === 'separate'
      ? 'the AWS identity is that of the separate agent on the socket, whoever runs mariadb-backup: the variables of its service count'
      : `if the server works, its service gives it AWS_* variables that mariadb-backup lacks: as root in bash, \`${TAKE_OVER}\`, then mariadb-backup again`;
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
