import { ownerOfPlace } from '../disk/place-owner.ts';
import { KeyError } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import { sharedFiles } from '../kms/aws/credentials/shared-files.ts';

/**
 * Refuses AWS configuration files that another user may change: root would run programs and send files that they name.
 * After sudo the environment may name such files.
 * @throws KeyError BAD_OPTION
 */
export async function refuseFilesOfOthers(environment: NodeJS.ProcessEnv, uid: number): Promise<void> {
  if (uid !== 0) return;
  const sudoer = parseDecimal(environment['SUDO_UID'] ?? '');
  const token = environment['AWS_WEB_IDENTITY_TOKEN_FILE'];
  for (const path of [...sharedFiles(environment), ...(token ? [token] : [])]) {
    if (path === '/dev/null') continue;
    const owner = await ownerOfPlace(path);
    if (owner.uid === 0 ? !owner.isShared : owner.uid === sudoer) continue;
    const who = owner.uid === 0 ? 'others than root' : `user ${owner.uid}`;
    throw new KeyError('BAD_OPTION', `${who} may change ${path}: root takes no AWS configuration from there`, {
      hint: 'run this as the user of the server: runuser -u mysql -- mariadb-aws-kms …, or name files of root',
    });
  }
}
