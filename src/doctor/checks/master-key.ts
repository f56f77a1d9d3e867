import { failure, ok, type Report, skipped, warning } from '../../finding.ts';
import type { MasterKey } from '../../kms/client.ts';
import type { KmsInspector } from '../../kms/inspect.ts';
import { regionOf } from '../../kms/master-key.ts';
import { type Check, type Examination, kmsIsNotAsked } from '../check.ts';
import { isDenied, kmsFailure } from '../kms-report.ts';

const DAY_MS = 86_400_000;
/** The most older master keys to ask about: each costs a request. */
const MOST_OLDER_KEYS = 10;
const ASK_FOR_DESCRIBE = 'mariadb-aws-kms policy --with-describe prints a policy that allows it';

export const masterKey: Check = {
  id: 'master-key',
  needs: ['credentials', 'endpoint'],
  unneeded: kmsIsNotAsked,
  async run(examination, signal) {
    const { configuration, facts } = examination;
    const kms = await examination.kms();
    const { masterKeyId } = configuration;
    const reports: Report[] = [];
    if (masterKeyId === '') {
      const found = 'aws_key_management_master_key_id is empty: no new keys can be created';
      reports.push(warning(found, 'aws_key_management_master_key_id = alias/NAME'));
    } else {
      reports.push(...(await lookAt(examination, kms, masterKeyId, signal)));
    }
    const current = facts.masterKey?.arn;
    const arns = facts.stored.flatMap(({ key }) => key.sidecar?.masterKeyArn ?? []);
    const older = [...new Set(arns)].filter((arn) => arn !== current && masterKeyId !== arn);
    // Without the configured key's description, the older keys cannot be told from it.
    if (masterKeyId !== '' && current === undefined) return reports;
    for (const arn of older.slice(0, MOST_OLDER_KEYS)) {
      const count = arns.filter((other) => other === arn).length;
      reports.push(...(await lookAtOlder(examination, kms, arn, count, signal)));
    }
    return reports;
  },
};

async function lookAt(
  { facts, surroundings }: Examination,
  kms: KmsInspector,
  masterKeyId: string,
  signal: AbortSignal,
): Promise<readonly Report[]> {
  let key: MasterKey;
  try {
    key = await kms.describeKey(masterKeyId, signal);
  } catch (error) {
    if (!isDenied(error)) return [kmsFailure(`master key ${masterKeyId}`, error)];
    return [
      skipped(`${masterKeyId}: kms:DescribeKey is not allowed, and not needed by the server; ${ASK_FOR_DESCRIBE}`),
    ];
  }
  facts.masterKey = key;
  const problem = problemOf(key, surroundings.clock.wallMs());
  if (problem !== undefined) return [problem];
  const name = masterKeyId === key.arn ? key.arn : `${masterKeyId} is ${key.arn}`;
  const kind = key.isMultiRegion ? ', multi-Region' : '';
  const details = `${key.state}, ${key.spec}${kind}${await rotationOf(kms, key, signal)}`;
  return [ok(`${name}: ${details}`)];
}

async function lookAtOlder(
  { surroundings }: Examination,
  kms: KmsInspector,
  arn: string,
  count: number,
  signal: AbortSignal,
): Promise<readonly Report[]> {
  const versions = `${count} stored key ${count === 1 ? 'version needs' : 'versions need'} this master key`;
  try {
    const problem = problemOf(await kms.describeKey(arn, signal), surroundings.clock.wallMs());
    return problem === undefined ? [] : [{ ...problem, found: `${versions}: ${problem.found}` }];
  } catch (error) {
    return isDenied(error) ? [] : [kmsFailure(`${versions}: ${arn}`, error)];
  }
}

function problemOf(key: MasterKey, nowMs: number): Report | undefined {
  const { arn, state, spec, usage, manager } = key;
  // The AWS CLI does not take the Region from the ARN.
  const named = `--region ${regionOf(arn)} --key-id ${arn}`;
  const enable = `aws kms enable-key ${named}`;
  const choose = 'aws_key_management_master_key_id must name a symmetric encryption key: aws kms create-key';
  if (usage !== 'ENCRYPT_DECRYPT' || spec !== 'SYMMETRIC_DEFAULT') {
    return failure(`${arn} is for ${usage} with ${spec}`, choose);
  }
  if (manager === 'AWS') return failure(`${arn} belongs to an AWS service and serves nobody else`, choose);
  switch (state) {
    case 'Enabled':
    case 'Updating':
      return undefined;
    case 'Disabled':
      return failure(`${arn} is disabled`, enable);
    case 'PendingDeletion':
    case 'PendingReplicaDeletion': {
      const days = key.deletionMs === undefined ? undefined : Math.ceil((key.deletionMs - nowMs) / DAY_MS);
      const left = days === undefined ? '' : `, ${days} ${days === 1 ? 'day' : 'days'} left`;
      const found = `${arn} is pending deletion${left}: all data under it is lost then`;
      return failure(found, `aws kms cancel-key-deletion ${named} && ${enable}`);
    }
    case 'PendingImport':
      return failure(`${arn} has no key material`, `aws kms import-key-material ${named} …`);
    default:
      return failure(`${arn} is ${state}`, `aws kms describe-key ${named}`);
  }
}

async function rotationOf(kms: KmsInspector, { arn }: MasterKey, signal: AbortSignal): Promise<string> {
  try {
    const { isEnabled, days } = await kms.rotation(arn, signal);
    if (!isEnabled) return ', no automatic rotation';
    return `, rotated every ${days ?? 365} days`;
  } catch {
    return ', rotation unknown (kms:GetKeyRotationStatus)';
  }
}
