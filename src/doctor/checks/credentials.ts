import { constants } from 'node:fs';
import { failure, ok, type Report, unlooked, warning } from '../../finding.ts';
import type { CredentialSummary } from '../../kms/inspect.ts';
import { READ } from '../../server/account.ts';
import {
  credentialSource,
  ENVIRONMENT_SOURCE,
  FILE_SOURCE,
  LOGIN_SOURCE,
  SSO_SOURCE,
} from '../../server/credential-source.ts';
import { credentialsCure, type KeyKeeper } from '../../server/key-keeper.ts';
import { sharedFilePaths } from '../../server/kms-target.ts';
import { findObstacle } from '../../server/obstacle.ts';
import { type Check, type Examination, mockNeedsNoKms } from '../check.ts';
import { kmsFailure } from '../kms-report.ts';

const HOUR_MS = 3_600_000;
const OTHERS_MAY_READ = 0o077;
/** A setting of a shared file; the bytes to read of one. */
const SETTING_LINE = /^\s*[^#;\s[][^=]*=/m;
const MOST_BYTES = 65_536;
const READ_ONLY = constants.O_RDONLY | constants.O_NONBLOCK;
const RENEW = 'mariadb-aws-kms login --mfa-serial ARN, or whatever made them';

export const credentials: Check = {
  id: 'credentials',
  unneeded: mockNeedsNoKms,
  async run(examination, signal) {
    const { surroundings, facts, configuration, adoption } = examination;
    const { keeper } = configuration;
    if (keeper.unseenIdentity !== undefined) return [unlooked(keeper.unseenIdentity)];
    const kms = await examination.kms();
    let summary: CredentialSummary;
    try {
      summary = await kms.credentials();
    } catch (error) {
      return [(await emptyFileReport(examination)) ?? noCredentials(keeper, error)];
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
    const given = keeper.service.variables.get('AWS_ACCESS_KEY_ID');
    if (source === ENVIRONMENT_SOURCE && adoption.adopted.includes('AWS_ACCESS_KEY_ID') && given !== undefined) {
      found += ` of ${given.from}`;
    } else if (source === ENVIRONMENT_SOURCE) {
      const [needy, unit] = keeper.isSeparate ? ['agent', keeper.service.unit?.name] : ['server', 'mariadb'];
      const fix = `the ${needy} needs them as well: systemctl show ${unit} -p Environment -p EnvironmentFiles`;
      reports.push(warning(`${found} of whoever runs this`, fix));
    }
    const longest = { [LOGIN_SOURCE]: 'after 12 hours at most', [SSO_SOURCE]: 'when the portal says so' }[source];
    if (longest !== undefined) {
      reports.push(
        warning(
          `${found}: the session of a person, which ends ${longest}`,
          `give the ${keeper.isSeparate ? 'agent' : 'server'} a role instead`,
        ),
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

/** The server itself needs none when its agent is a separate one. */
function noCredentials(keeper: KeyKeeper, error: unknown): Report {
  if (!keeper.isSeparate) return kmsFailure('no AWS credentials', error);
  const { found } = kmsFailure(`no AWS credentials for the agent, as ${keeper.account.name}`, error);
  return failure(found, credentialsCure(keeper));
}

/** Reports a shared file in which nothing is set: `init` makes it empty, for the administrator to fill in. */
async function emptyFileReport({ surroundings, configuration }: Examination): Promise<Report | undefined> {
  const { files, environment } = surroundings;
  const [path] = sharedFilePaths(surroundings, configuration.keeper);
  const isEmpty = await files.keyDirectory.open(path, READ_ONLY).then(
    async (file) => {
      try {
        return (await file.stat()).isFile() && !SETTING_LINE.test((await file.readFile(MOST_BYTES)).toString('utf8'));
      } finally {
        await file.close();
      }
    },
    () => false,
  );
  if (!isEmpty) return undefined;
  const profile = environment['AWS_PROFILE'] || 'default';
  return failure(
    `no AWS credentials: ${path} holds no key`,
    `write aws_access_key_id and aws_secret_access_key into it, below [${profile}]`,
  );
}

async function fileReports({ surroundings, configuration }: Examination): Promise<readonly Report[]> {
  const { files } = surroundings;
  const { options, keeper } = configuration;
  const { account } = keeper;
  const [path] = sharedFilePaths(surroundings, keeper);
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
  if (
    configuration.unread === undefined &&
    !options.last('secure_file_priv') &&
    facts.uid === configuration.account.uid
  ) {
    const found = `secure_file_priv is not set: SQL users with the FILE privilege can read ${path}`;
    reports.push(warning(found, 'set secure_file_priv: see sql-files'));
  }
  return reports;
}
