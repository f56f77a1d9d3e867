import { failure, ok, type Report, warning } from '../../finding.ts';
import type { CredentialSummary } from '../../kms/inspect.ts';
import { READ } from '../../server/account.ts';
import {
  credentialSource,
  ENVIRONMENT_SOURCE,
  FILE_SOURCE,
  LOGIN_SOURCE,
  SSO_SOURCE,
} from '../../server/credential-source.ts';
import { findObstacle } from '../../server/obstacle.ts';
import { type Check, type Examination, mockNeedsNoKms } from '../check.ts';
import { kmsFailure } from '../kms-report.ts';
import { secureFilePriv } from './sql-files.ts';

const HOUR_MS = 3_600_000;
const OTHERS_MAY_READ = 0o077;
const RENEW = 'mariadb-aws-kms login --mfa-serial ARN, or whatever made them';

export const credentials: Check = {
  id: 'credentials',
  unneeded: mockNeedsNoKms,
  async run(examination, signal) {
    const { surroundings, facts, configuration, adoption } = examination;
    const kms = await examination.kms();
    let summary: CredentialSummary;
    try {
      summary = await kms.credentials();
    } catch (error) {
      return [kmsFailure('no AWS credentials', error)];
    }
    const source = credentialSource(summary.marks);
    // Used in messages only: KMS decides about this identity's permissions.
    facts.identity = await kms.callerIdentity(signal).catch(() => '');
    const who = facts.identity === '' ? `access key ending ${summary.accessKeyEnd}` : facts.identity;
    let found = `${who}, from ${source}`;
    const { expiresMs } = summary;
    const reports = [
      ...(expiresMs === undefined ? [] : expiryReports(found, expiresMs - surroundings.clock.wallMs())),
      ...(source === FILE_SOURCE ? await fileReports(examination) : []),
    ];
    const given = configuration.service.variables.get('AWS_ACCESS_KEY_ID');
    if (source === ENVIRONMENT_SOURCE && adoption.adopted.includes('AWS_ACCESS_KEY_ID') && given !== undefined) {
      found += ` of ${given.from}`;
    } else if (source === ENVIRONMENT_SOURCE) {
      const fix = 'the server needs them as well: systemctl show mariadb -p Environment -p EnvironmentFiles';
      reports.push(warning(`${found} of whoever runs this`, fix));
    }
    const longest = { [LOGIN_SOURCE]: 'after 12 hours at most', [SSO_SOURCE]: 'when the portal says so' }[source];
    if (longest !== undefined) {
      reports.push(
        warning(`${found}: the session of a person, which ends ${longest}`, 'give the server a role instead'),
      );
    }
    const until = expiresMs === undefined ? 'without expiry' : `until ${new Date(expiresMs).toISOString()}`;
    return reports.length > 0 ? reports : [ok(`${found}, ${until}`)];
  },
};

function expiryReports(found: string, leftMs: number): readonly Report[] {
  if (leftMs <= 0) return [failure(`${found}: expired ${minutes(-leftMs)} min ago`, RENEW)];
  if (leftMs > HOUR_MS) return [];
  return [warning(`${found}: expire in ${minutes(leftMs)} min; no new keys after that unless renewed`, RENEW)];
}

function minutes(ms: number): number {
  return Math.floor(ms / 60_000);
}

async function fileReports({ surroundings, configuration }: Examination): Promise<readonly Report[]> {
  const { files, environment } = surroundings;
  const { account, options } = configuration;
  const path = environment['AWS_SHARED_CREDENTIALS_FILE'] ?? `${account.home}/.aws/credentials`;
  const facts = await files.stat(path).catch(() => undefined);
  if (facts === undefined) return [];
  const reports: Report[] = [];
  const obstacle = await findObstacle(files, account, path, READ);
  if (obstacle !== undefined)
    reports.push(failure(obstacle.found, obstacle.enter ?? `chown ${account.name}: ${path} && chmod 0600 ${path}`));
  if ((facts.mode & OTHERS_MAY_READ) !== 0) {
    const mode = (facts.mode & 0o777).toString(8).padStart(3, '0');
    reports.push(warning(`${path} may be read by others (mode 0${mode})`, `chmod 0600 ${path}`));
  }
  if (configuration.unread === undefined && !options.last('secure_file_priv') && facts.uid === account.uid) {
    const found = `secure_file_priv is not set: SQL users with the FILE privilege can read ${path}`;
    reports.push(warning(found, secureFilePriv(configuration)));
  }
  return reports;
}
