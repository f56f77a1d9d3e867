import { isIP } from 'node:net';
import { KeyError } from '../errors.ts';
import {
  ALGORITHM_PAIR,
  type EncryptionContext,
  KEY_CACHE_PAIR,
  KEY_ID_PAIR,
  KEY_VERSION_PAIR,
  parseEncryptionContext,
} from '../format/encryption-context.ts';
import { REGION } from '../format/region.ts';
import { isMultiRegion, masterKeyInRegion } from '../kms/master-key.ts';

export type PolicyKind = 'iam' | 'key';

/** The holder of the identity: the server, or the operator who runs `import`. */
export type PolicyHolder = 'server' | 'import';

/** The options of the command as typed. */
export interface PolicyRequest {
  readonly kind: string;
  readonly holder: string;
  readonly masterKeyArn: string | undefined;
  /** Earlier master keys that stored keys are still wrapped under. */
  readonly olderKeyArns: readonly string[];
  readonly principal: string | undefined;
  readonly encryptionContext: string;
  readonly failoverRegions: readonly string[];
  readonly sourceIps: readonly string[];
  readonly sourceVpces: readonly string[];
  readonly requireMfa: boolean;
  readonly withDescribe: boolean;
  /** Days; undefined: only the key's administrator decides when it is deleted. */
  readonly keepUsed: string | undefined;
}

export interface Policy {
  readonly document: PolicyDocument;
  /** Notes for the person who attaches the policy. */
  readonly notes: readonly string[];
}

export interface PolicyDocument {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

export interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Principal?: { readonly AWS: string };
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Condition;
}

export type Condition = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

const KEY_ARN = /^arn:(aws[\w-]*):kms:([a-z0-9-]+):(\d{12}):key\/(?:mrk-[0-9a-f]{32}|[0-9a-f-]{36})$/;
const PRINCIPAL_ARN = /^arn:(aws[\w-]*):iam::(\d{12}):(?:root|(?:role|user)\/[\w+=,.@/-]{1,512})$/;
const VPC_ENDPOINT = /^vpce-[0-9a-f]{8,17}$/;
/** AWS's quotas for a managed policy, without white space, and for a key policy. */
const MAX_CHARACTERS: Readonly<Record<PolicyKind, number>> = { iam: 6144, key: 32_768 };

/** The only KMS actions that the server uses. */
const SERVER_ACTIONS = ['kms:GenerateDataKeyWithoutPlaintext', 'kms:Decrypt'];
/** The actions of `import`: a data key that exists already is wrapped, and the wrapped key unwrapped. */
const IMPORT_ACTIONS = ['kms:Encrypt', 'kms:Decrypt'];
/** Optional actions that `doctor` uses. */
const LOOK_ACTIONS = ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:GetKeyRotationStatus', 'kms:GetKeyLastUsage'];
/** Fewest days allowed: a server uses its key once a day, and KMS counts whole days with a delay of up to an hour. */
const FEWEST_DAYS = 2;
const MOST_DAYS = 3650;

/** @throws KeyError BAD_OPTION */
export function minimalPolicy(request: PolicyRequest): Policy {
  const kind = parseKind(request.kind);
  parseHolder(request.holder);
  const context = parseEncryptionContext(request.encryptionContext);
  refuseVariables(context);
  refuseSameNames(context);
  const condition = conditionOf(request, context);
  const document = kind === 'iam' ? iamPolicy(request, condition) : keyPolicy(request, condition);
  const size = JSON.stringify(document).length;
  if (size > MAX_CHARACTERS[kind]) {
    throw new KeyError('BAD_OPTION', `the policy has ${size} characters, AWS allows ${MAX_CHARACTERS[kind]}`);
  }
  return { document, notes: notesOf(request, context) };
}

function iamPolicy(request: PolicyRequest, condition: Condition | undefined): PolicyDocument {
  if (request.principal !== undefined) {
    throw new KeyError('BAD_OPTION', '--principal: an IAM policy names none, it is attached to one', {
      hint: 'leave it out, or print a key policy with --kind key',
    });
  }
  if (request.keepUsed !== undefined) {
    throw new KeyError('BAD_OPTION', '--keep-used: only the policy of the key holds for everybody', {
      hint: 'leave it out, or print a key policy with --kind key',
    });
  }
  if (request.masterKeyArn === undefined) {
    throw new KeyError('BAD_OPTION', '--master-key-arn is missing: an IAM policy for every key is not minimal', {
      hint: 'aws kms describe-key --key-id alias/NAME --query KeyMetadata.Arn; IAM does not take an alias for its key',
    });
  }
  const arns = resourcesOf('--master-key-arn', request.masterKeyArn, request.failoverRegions);
  const older = request.olderKeyArns.flatMap((arn) => {
    const regions = isMultiRegion(arn) ? request.failoverRegions : [];
    return resourcesOf('--older-key-arn', arn, regions);
  });
  const document = documentOf(request, { Resource: oneOrMore(arns) }, condition, []);
  if (older.length === 0) return document;
  const opens: Statement = {
    Sid: 'MariaDBOlderDataKeys',
    Effect: 'Allow',
    Action: 'kms:Decrypt',
    Resource: oneOrMore(older),
    ...(condition === undefined ? {} : { Condition: condition }),
  };
  return { ...document, Statement: [...document.Statement, opens] };
}

function keyPolicy(request: PolicyRequest, condition: Condition | undefined): PolicyDocument {
  const { principal } = request;
  if (principal === undefined) {
    throw new KeyError('BAD_OPTION', '--principal is missing: a key policy says who may use the key', {
      hint: 'name the role or user of the server, for example arn:aws:iam::111122223333:role/mariadb',
    });
  }
  const [, partition, account] = PRINCIPAL_ARN.exec(principal) ?? [];
  if (partition === undefined || account === undefined) {
    throw new KeyError('BAD_OPTION', `--principal: expected the ARN of an IAM role or user, got "${principal}"`, {
      hint: 'a session of a role (arn:aws:sts::…:assumed-role/NAME/SESSION) is named by its role: arn:aws:iam::…:role/NAME',
    });
  }
  if (request.olderKeyArns.length > 0) {
    throw new KeyError('BAD_OPTION', '--older-key-arn: a key policy is of one key', {
      hint: 'print one for each key: --kind key --master-key-arn ARN',
    });
  }
  if (request.masterKeyArn !== undefined) {
    resourcesOf('--master-key-arn', request.masterKeyArn, request.failoverRegions);
  }
  // In a key policy `*` is the key itself. The key's account keeps full rights, as in AWS's default policy.
  const owner = request.masterKeyArn === undefined ? account : (KEY_ARN.exec(request.masterKeyArn)?.[3] ?? account);
  const administration: Statement = {
    Sid: 'AccountAdministersKey',
    Effect: 'Allow',
    Principal: { AWS: `arn:${partition}:iam::${owner}:root` },
    Action: 'kms:*',
    Resource: '*',
  };
  const about = { Principal: { AWS: principal }, Resource: '*' };
  const document = documentOf(request, about, condition, [administration]);
  if (request.keepUsed === undefined) return document;
  return { ...document, Statement: [...document.Statement, keepUsed(request.keepUsed)] };
}

/**
 * Denies deletion and disabling while the key is in use. The condition covers these two actions only; anyone who may
 * change the policy can remove the statement.
 */
function keepUsed(text: string): Statement {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days < FEWEST_DAYS || days > MOST_DAYS) {
    throw new KeyError('BAD_OPTION', `--keep-used: expected ${FEWEST_DAYS} to ${MOST_DAYS} days, got "${text}"`, {
      hint: 'a server uses its master key once a day: 30 leaves time to mend one that does not run',
    });
  }
  return {
    Sid: 'NobodyDeletesKeyInUse',
    Effect: 'Deny',
    Principal: { AWS: '*' },
    Action: ['kms:ScheduleKeyDeletion', 'kms:DisableKey'],
    Resource: '*',
    Condition: { NumericLessThan: { 'kms:TrailingDaysWithoutKeyUsage': String(days) } },
  };
}

function documentOf(
  { withDescribe, holder }: PolicyRequest,
  about: Pick<Statement, 'Principal' | 'Resource'>,
  condition: Condition | undefined,
  before: readonly Statement[],
): PolicyDocument {
  const { Principal, Resource } = about;
  const whom = Principal === undefined ? {} : { Principal };
  const allow = (Sid: string, Action: readonly string[]): Statement => ({
    Sid,
    Effect: 'Allow',
    ...whom,
    Action,
    Resource,
  });
  const use = holder === 'import' ? allow('MariaDBImport', IMPORT_ACTIONS) : allow('MariaDBDataKeys', SERVER_ACTIONS);
  return {
    Version: '2012-10-17',
    Statement: [
      ...before,
      condition === undefined ? use : { ...use, Condition: condition },
      ...(withDescribe ? [allow('MariaDBLooksAtMasterKey', LOOK_ACTIONS)] : []),
    ],
  };
}

/** The key's ARN in its Region and, for failover, the ARNs of its replicas. */
function resourcesOf(option: string, arn: string, failoverRegions: readonly string[]): readonly string[] {
  if (!REGION.test(KEY_ARN.exec(arn)?.[2] ?? '')) {
    throw new KeyError('BAD_OPTION', `${option}: expected the ARN of a KMS key, got "${arn}"`, {
      hint: 'for example arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab; an alias is not enough for IAM',
    });
  }
  for (const region of failoverRegions) {
    if (!REGION.test(region)) {
      throw new KeyError('BAD_OPTION', `--failover-regions: expected names of Regions, got "${region}"`);
    }
    if (!arn.includes(':key/mrk-')) {
      throw new KeyError('BAD_OPTION', '--failover-regions: the master key is in one Region only', {
        hint: 'only a multi-Region key (its id begins with mrk-) has replicas',
      });
    }
  }
  return [...new Set([arn, ...failoverRegions.map((region) => masterKeyInRegion(arn, region))])];
}

function conditionOf(request: PolicyRequest, context: EncryptionContext): Condition | undefined {
  const { sourceIps, sourceVpces, requireMfa } = request;
  for (const cidr of sourceIps) parseCidr(cidr);
  for (const vpce of sourceVpces) {
    if (!VPC_ENDPOINT.test(vpce)) {
      throw new KeyError('BAD_OPTION', `--source-vpce: expected an id such as vpce-0abc1234def567890, got "${vpce}"`);
    }
  }
  if (sourceIps.length > 0 && sourceVpces.length > 0) {
    throw new KeyError('BAD_OPTION', '--source-ip and --source-vpce: both at once let nobody in', {
      hint: 'a call through a VPC endpoint has no public source address: choose one of them',
    });
  }
  const names = Object.keys(context);
  const equals = {
    ...Object.fromEntries(names.map((name) => [`kms:EncryptionContext:${name}`, context[name] ?? ''])),
    ...(sourceVpces.length > 0 ? { 'aws:SourceVpce': sourceVpces } : {}),
  };
  const condition: Condition = {
    ...(Object.keys(equals).length > 0 ? { StringEquals: equals } : {}),
    ...(names.length > 0
      ? {
          'ForAllValues:StringEquals': {
            'kms:EncryptionContextKeys': [...names, KEY_ID_PAIR, KEY_VERSION_PAIR, ALGORITHM_PAIR, KEY_CACHE_PAIR],
          },
        }
      : {}),
    ...(sourceIps.length > 0 ? { IpAddress: { 'aws:SourceIp': sourceIps } } : {}),
    ...(requireMfa ? { Bool: { 'aws:MultiFactorAuthPresent': 'true' } } : {}),
  };
  return Object.keys(condition).length > 0 ? condition : undefined;
}

function notesOf(
  { sourceIps, requireMfa, keepUsed: days }: PolicyRequest,
  context: EncryptionContext,
): readonly string[] {
  return [
    ...(Object.keys(context).length > 0
      ? ['keys made without this encryption context cannot be unwrapped under this policy']
      : []),
    ...(sourceIps.length > 0
      ? ['aws:SourceIp never matches a call through a VPC endpoint: use --source-vpce ID there']
      : []),
    ...(sourceIps.some(isPrivate)
      ? ['AWS sees the public address of a server, for example of its NAT gateway, never a private one']
      : []),
    ...(days === undefined
      ? []
      : [
          `nobody disables or deletes the key within ${Number(days)} days of its last use or, if it was never used, of its creation, whatever else they may; in an emergency take NobodyDeletesKeyInUse out first (aws kms put-key-policy)`,
          'a server uses its master key once a day unless aws_key_management_watch_interval is 0; each replica of a multi-Region key counts for itself and needs this policy, too',
        ]),
    ...(requireMfa ? ['only sessions made with a code match: mariadb-aws-kms login --mfa-serial ARN'] : []),
  ];
}

function parseKind(text: string): PolicyKind {
  if (text === 'iam' || text === 'key') return text;
  throw new KeyError('BAD_OPTION', `--kind: expected iam or key, got "${text}"`);
}

function parseHolder(text: string): PolicyHolder {
  if (text === 'server' || text === 'import') return text;
  throw new KeyError('BAD_OPTION', `--for: expected server or import, got "${text}"`);
}

/** Refuses `${…}`, which policies would read as a variable. */
function refuseVariables(context: EncryptionContext): void {
  const pair = Object.entries(context).find((sides) => sides.some((side) => side.includes('${')));
  if (pair === undefined) return;
  throw new KeyError('BAD_OPTION', `--encryption-context: "${pair.join('=')}" has \${, which policies replace`);
}

/** Refuses context names that differ only in case, which policies treat as equal. */
function refuseSameNames(context: EncryptionContext): void {
  const names = Object.keys(context);
  const same = names.find((name, index) => names.findIndex((other) => isSameName(name, other)) !== index);
  if (same === undefined) return;
  throw new KeyError('BAD_OPTION', `--encryption-context: "${same}" comes twice, which policies do not tell apart`);
}

function isSameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function oneOrMore(list: readonly string[]): string | readonly string[] {
  return list.length === 1 ? (list[0] ?? '') : list;
}

function parseCidr(text: string): void {
  const [address = '', length, ...rest] = text.split('/');
  const version = isIP(address);
  const longest = version === 4 ? 32 : 128;
  const isLength = length === undefined || (/^(?:0|[1-9]\d*)$/.test(length) && Number(length) <= longest);
  if (version === 0 || !isLength || rest.length > 0) {
    throw new KeyError(
      'BAD_OPTION',
      `--source-ip: expected an address or a block such as 198.51.100.0/24, got "${text}"`,
    );
  }
}

function isPrivate(cidr: string): boolean {
  return /^(?:10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|127\.|f[cd][0-9a-f]{2}:)/i.test(cidr);
}
