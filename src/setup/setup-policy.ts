import { minimalPolicy, type PolicyDocument } from '../iam/policy.ts';

export interface SetupPolicy {
  readonly document: PolicyDocument;
  /** The reason why the document has to be completed by hand, and how; empty: it need not. */
  readonly note: string;
}

const ARN = /^arn:[^:]+:kms:[^:]+:\d{12}:key\//;
const STAND_IN = { account: '000000000000', key: '00000000-0000-0000-0000-000000000000' };
const PARTITIONS: readonly (readonly [RegExp, string])[] = [
  [/^cn-/, 'aws-cn'],
  [/^us-gov-/, 'aws-us-gov'],
];

/** Returns the two-action policy for the server's identity. IAM takes ARNs of keys: others leave a place to fill in. */
export function setupPolicy(masterKey: string, region: string): SetupPolicy {
  const isArn = ARN.test(masterKey);
  const partition = PARTITIONS.find(([pattern]) => pattern.test(region))?.[1] ?? 'aws';
  const arn = isArn ? masterKey : `arn:${partition}:kms:${region}:${STAND_IN.account}:key/${STAND_IN.key}`;
  const { document } = minimalPolicy({
    kind: 'iam',
    holder: 'server',
    masterKeyArn: arn,
    olderKeyArns: [],
    principal: undefined,
    encryptionContext: '',
    failoverRegions: [],
    sourceIps: [],
    sourceVpces: [],
    requireMfa: false,
    withDescribe: false,
    keepUsed: undefined,
  });
  if (isArn) return { document, note: '' };
  const [statement, ...others] = document.Statement;
  const open = `arn:${partition}:kms:${region}:ACCOUNT:key/ID`;
  const statements = statement === undefined ? [] : [{ ...statement, Resource: open }, ...others];
  return {
    document: { ...document, Statement: statements },
    note: `IAM takes the ARN of the key: aws kms describe-key --region ${region} --key-id ${masterKey} --query KeyMetadata.Arn --output text`,
  };
}
