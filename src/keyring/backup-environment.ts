import type { KeyError } from '../errors.ts';
import { isCredentialFailure } from '../kms/failures/classify.ts';
import type { KmsFailure } from '../kms-failure.ts';

/** For bash. It prints nothing: what it copies may be secret. */
const TAKE_OVER =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
  'while IFS= read -rd "" v; do [[ ${v%%=*} =~ ^AWS_|PROXY$|proxy$|^SSL_CERT_FILE$ ]] && export "$v"; done < /proc/$(pidof -s mariadbd)/environ';

/**
 * A mariadb-backup has the environment of whoever runs it, and its agent with it. What the service gives the server
 * (credentials, Region, proxies) is not there; adds how to take it over to the hint of a failure that may come of that.
 */
export function hintedForBackup(error: KeyError): KeyError {
  const { code, hint, failure } = error;
  if (code !== 'KMS_OPERATOR' && code !== 'KMS_TRANSIENT') return error;
  if (failure === undefined || !mayComeOfEnvironment(failure)) return error;
  const added = `if the server works, its service gives it AWS_* variables that mariadb-backup lacks: as root in bash, \`${TAKE_OVER}\`, then mariadb-backup again`;
  return error.hinted(hint === '' ? added : `${added}; otherwise ${hint}`);
}

/** Whose Region is another, too: there KMS has no such key, and says no more than that the identity may not. */
function mayComeOfEnvironment(failure: KmsFailure): boolean {
  const isOfRegion = failure.group === 'permission' || failure.name === 'NotFoundException';
  return isCredentialFailure(failure) || failure.status === 0 || isOfRegion;
}
