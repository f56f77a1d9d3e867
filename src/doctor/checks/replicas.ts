import type { KmsInspector, MasterKey } from '../../kms/inspect.ts';
import { type Check, type Examination, mockNeedsNoKms } from '../check.ts';
import { ok, type Report, skipped, warning } from '../finding.ts';
import { isDenied, kmsFailure } from '../kms-report.ts';

export const replicas: Check = {
  id: 'replicas',
  needs: ['credentials', 'endpoint'],
  unneeded: mockNeedsNoKms,
  isOptional: true,
  async run(examination, signal) {
    const { facts, configuration } = examination;
    const { masterKey } = facts;
    const { failoverRegions } = configuration;
    if (masterKey === undefined) return [skipped('the master key could not be described')];
    const kms = await examination.kms();
    if (!masterKey.isMultiRegion) {
      if (failoverRegions.length === 0)
        return [skipped('the master key is in one Region only, and no failover is set')];
      const fix = 'create a multi-Region key (aws kms create-key --multi-region) and rotate to it, or empty the option';
      return [warning(`aws_key_management_failover_regions is set, and ${masterKey.arn} is in one Region only`, fix)];
    }
    const reports = absentReplicas(examination, masterKey);
    const others = masterKey.members.filter(({ region }) => region !== kms.region);
    const own = await policyOf(kms, masterKey.arn, signal);
    const looked = await Promise.all(
      others.map((other) => {
        const configured = failoverRegions.find(({ region }) => region === other.region);
        return lookAt(kms.inRegion(other.region, configured?.endpointUrl), other, own, signal);
      }),
    );
    reports.push(...looked.flat());
    if (reports.length > 0) return reports;
    const regions = others.map(({ region }) => region).join(', ') || 'none';
    const policies = own === undefined ? 'policies not compared (kms:GetKeyPolicy)' : 'same policy';
    return [ok(`replicas in other Regions: ${regions}; enabled, ${policies}`)];
  },
};

function absentReplicas({ configuration, facts }: Examination, masterKey: MasterKey): Report[] {
  const regions = masterKey.members.map(({ region }) => region);
  return configuration.failoverRegions
    .filter(({ region }) => !regions.includes(region))
    .map(({ region }) => {
      const fix = `aws kms replicate-key --key-id ${facts.masterKey?.keyId ?? ''} --replica-region ${region}`;
      return warning(`failover Region ${region} has no replica of the master key`, fix);
    });
}

async function lookAt(
  kms: KmsInspector,
  { region, arn }: { readonly region: string; readonly arn: string },
  ownPolicy: string | undefined,
  signal: AbortSignal,
): Promise<readonly Report[]> {
  try {
    const { state } = await kms.describeKey(arn, signal);
    if (state !== 'Enabled') {
      return [
        warning(`the replica in ${region} is ${state}`, `aws kms describe-key --region ${region} --key-id ${arn}`),
      ];
    }
  } catch (error) {
    if (isDenied(error)) return [warning(`the replica in ${region} refuses this identity`, grantIn(region, arn))];
    const { found, fix } = kmsFailure(`the replica in ${region}`, error);
    return [warning(found, fix)];
  }
  const policy = await policyOf(kms, arn, signal);
  if (ownPolicy === undefined || policy === undefined || policy === ownPolicy) return [];
  const found = `the replica in ${region} has another key policy: who may use the key here may not there, or the reverse`;
  return [warning(found, `aws kms put-key-policy --region ${region} --key-id ${arn} --policy-name default --policy …`)];
}

/** Its JSON without the order of members and the white space; account ids and ARNs are the same in every Region. */
async function policyOf(kms: KmsInspector, arn: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const policy: unknown = JSON.parse(await kms.keyPolicy(arn, signal));
    return JSON.stringify(sorted(policy));
  } catch {
    return undefined;
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, member]) => [name, sorted(member)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function grantIn(region: string, arn: string): string {
  return `policies are per Region: mariadb-aws-kms policy --kind key --master-key-arn ${arn}, put in ${region}`;
}
