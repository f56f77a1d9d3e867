import { ok, type Report, skipped, warning } from '../../finding.ts';
import { canonicalPolicy } from '../../iam/key-policy.ts';
import type { MasterKey } from '../../kms/client.ts';
import type { KmsInspector } from '../../kms/inspect.ts';
import { isMultiRegion, isSameMasterKey, masterKeyInRegion } from '../../kms/master-key.ts';
import { type Check, type Examination, kmsIsNotAsked } from '../check.ts';
import { isDenied, kmsFailure } from '../kms-report.ts';
import { dryRunAbout } from './permissions.ts';

export const replicas: Check = {
  id: 'replicas',
  needs: ['credentials', 'endpoint'],
  unneeded: kmsIsNotAsked,
  isOptional: true,
  async run(examination, signal) {
    const { facts, configuration } = examination;
    const { masterKey } = facts;
    const { failoverRegions } = configuration;
    if (masterKey?.isMultiRegion === false) {
      if (failoverRegions.length === 0)
        return [skipped('the master key is in one Region only, and no failover is set')];
      const fix = 'create a multi-Region key (aws kms create-key --multi-region) and rotate to it, or empty the option';
      return [warning(`aws_key_management_failover_regions is set, and ${masterKey.arn} is in one Region only`, fix)];
    }
    const arn = masterKey?.arn ?? undescribedArn(examination);
    if (arn === undefined) return [skipped('the master key could not be described')];
    const kms = await examination.kms();
    const regions = masterKey?.members.map(({ region }) => region);
    const absent = failoverRegions.filter(({ region }) => regions?.includes(region) === false);
    const others = (regions ?? failoverRegions.map(({ region }) => region)).filter((region) => region !== kms.region);
    const own = masterKey && (await policyOf(kms, arn, signal));
    const looks = await Promise.all(others.map((region) => lookAt(examination, region, arn, own, signal)));
    const reports = [
      ...absent.map(({ region }) => absentReport(region, masterKey)),
      ...looks.flatMap(({ problems }) => problems),
    ];
    if (reports.length > 0) return reports;
    const seen = others.map((region, index) => `${region} (${looks[index]?.seen.join(', ')})`);
    return [ok(`replicas in other Regions: ${seen.join(', ') || 'none'}`)];
  },
};

interface Look {
  readonly problems: readonly Report[];
  /** Replicas that were found usable. */
  readonly seen: readonly string[];
}

/**
 * A multi-Region key that stored keys are wrapped under, when its replicas are known only from the failover Regions.
 */
function undescribedArn({ facts, configuration }: Examination): string | undefined {
  if (configuration.failoverRegions.length === 0) return undefined;
  return facts.stored.map(({ key }) => key.sidecar?.masterKeyArn ?? '').find(isMultiRegion);
}

function absentReport(region: string, masterKey: MasterKey | undefined): Report {
  const fix = `aws kms replicate-key --key-id ${masterKey?.keyId ?? 'ID'} --replica-region ${region}`;
  return warning(`failover Region ${region} has no replica of the master key`, fix);
}

async function lookAt(
  examination: Examination,
  region: string,
  primaryArn: string,
  ownPolicy: string | undefined,
  signal: AbortSignal,
): Promise<Look> {
  const arn = masterKeyInRegion(primaryArn, region);
  const failover = examination.configuration.failoverRegions.find((other) => other.region === region);
  const kms = (await examination.kms()).inRegion(region, failover?.endpointUrl);
  const state = await stateOf(kms, arn, signal);
  if (typeof state !== 'string') return { problems: [state], seen: [] };
  const refusal = failover && (await decryptRefusal(examination, kms, arn, signal));
  if (refusal !== undefined) return { problems: [refusal], seen: [] };
  const seen = [state, ...(failover === undefined ? [] : ['may Decrypt'])];
  const policy = await policyOf(kms, arn, signal);
  if (ownPolicy === undefined || policy === undefined) return { problems: [], seen: [...seen, 'policy not compared'] };
  if (policy === ownPolicy) return { problems: [], seen: [...seen, 'same policy'] };
  const found = `the replica in ${region} has another key policy: who may use the key here may not there, or the reverse`;
  const fix = `aws kms put-key-policy --region ${region} --key-id ${arn} --policy-name default --policy …`;
  return { problems: [warning(found, fix)], seen };
}

/** The server does not need DescribeKey: when it is denied, a dry run of Decrypt decides. */
async function stateOf(kms: KmsInspector, arn: string, signal: AbortSignal): Promise<string | Report> {
  try {
    const { state } = await kms.describeKey(arn, signal);
    if (state === 'Enabled') return 'enabled';
    const fix = `aws kms describe-key --region ${kms.region} --key-id ${arn}`;
    return warning(`the replica in ${kms.region} is ${state}`, fix);
  } catch (error) {
    if (isDenied(error)) return 'not described';
    const { found, fix } = kmsFailure(`the replica in ${kms.region}`, error);
    return warning(found, fix);
  }
}

/** The dry run uses a stored key: bytes wrapped here must open there. */
async function decryptRefusal(
  examination: Examination,
  kms: KmsInspector,
  arn: string,
  signal: AbortSignal,
): Promise<Report | undefined> {
  const stored = examination.facts.stored.find(({ key }) => isSameMasterKey(key.sidecar?.masterKeyArn ?? '', arn));
  const request = dryRunAbout(examination, 'Decrypt', stored);
  if (request === undefined) return undefined;
  try {
    await kms.dryRun({ ...request, keyId: arn }, signal);
    return undefined;
  } catch (error) {
    const { found, fix } = kmsFailure(`the replica in ${kms.region} does not Decrypt`, error);
    const policy = `policies are per Region: mariadb-aws-kms policy --master-key-arn ${arn}, and the key policy in ${kms.region}`;
    return warning(found, isDenied(error) ? policy : fix);
  }
}

async function policyOf(kms: KmsInspector, arn: string, signal: AbortSignal): Promise<string | undefined> {
  return await kms.keyPolicy(arn, signal).then(
    (text) => canonicalPolicy(text, kms.region),
    () => undefined,
  );
}
