/** What the text of a key policy gives an identity. IAM policies may give or take more: they are not seen from here. */

/**
 * `allowed`: by the key policy alone. `conditional`: when conditions hold that are not looked at. `delegated`: when an
 * IAM policy says so too. `none`: not by this policy, or denied by it.
 */
export type Grant = 'allowed' | 'conditional' | 'delegated' | 'none';

export interface KeyPolicy {
  readonly statements: readonly PolicyStatement[];
}

interface PolicyStatement {
  readonly isAllow: boolean;
  readonly principals: Members;
  readonly actions: Members;
  readonly resources: Members;
  readonly isConditional: boolean;
}

/** Of a list that a policy writes as such, or as all that is not in it (`NotAction`). */
interface Members {
  readonly list: readonly string[];
  readonly isNot: boolean;
}

/** Who asks, as GetCallerIdentity names it and as policies do. */
export interface Identity {
  readonly account: string;
  /** As the caller itself is named: the session of a role, a user, the account. */
  readonly arn: string;
  /** What IAM policies are attached to. A role's path is not known from its session. */
  readonly policyArn: string;
  /** Name of the role; undefined for others. */
  readonly role: string | undefined;
}

const IDENTITY_ARN = /^arn:([\w-]+):(?:iam|sts)::(\d{12}):([\w-]+)(?:\/([^/]+))?/;

/** Undefined for text that is no ARN of an identity. */
export function parseIdentity(arn: string): Identity | undefined {
  const [, partition, account, kind, name] = IDENTITY_ARN.exec(arn) ?? [];
  if (partition === undefined || account === undefined) return undefined;
  const role = kind === 'assumed-role' ? name : undefined;
  return { account, arn, role, policyArn: role === undefined ? arn : `arn:${partition}:iam::${account}:role/${role}` };
}

/** Undefined for text that is no policy. */
export function parseKeyPolicy(text: string): KeyPolicy | undefined {
  const document = parseObject(text);
  if (document === undefined) return undefined;
  const statements = asList(document['Statement']);
  return { statements: statements.filter((statement) => isObject(statement)).map(parseStatement) };
}

/** @param action such as `kms:ScheduleKeyDeletion` */
export function grantOf({ statements }: KeyPolicy, identity: Identity, action: string, keyArn: string): Grant {
  const concerned = statements.filter(
    ({ actions, resources }) => holds(actions, (text) => matches(text, action, 'i')) && holds(resources, isKey(keyArn)),
  );
  const isForeign = keyArn.split(':')[4] !== identity.account;
  let isPerhapsDenied = false;
  const grants = new Set<Grant>();
  for (const { isAllow, principals, isConditional } of concerned) {
    const isIdentity = holds(principals, (text) => isNamed(text, identity));
    const isAccount = holds(principals, (text) => isAccountOf(text, identity));
    if (!isIdentity && !isAccount) continue;
    if (isAllow) {
      // In another account its own IAM policies have to agree.
      if (!isIdentity || isForeign) grants.add('delegated');
      else grants.add(isConditional ? 'conditional' : 'allowed');
    } else if (isConditional) {
      isPerhapsDenied = true;
    } else {
      return 'none';
    }
  }
  if (grants.has('allowed')) return isPerhapsDenied ? 'conditional' : 'allowed';
  if (grants.has('conditional')) return 'conditional';
  return grants.has('delegated') ? 'delegated' : 'none';
}

/**
 * Two policies that say the same of their keys are the same text: without names of statements, order, white space, and
 * the Region they are in. Undefined for text that is no policy.
 */
export function canonicalPolicy(text: string, region: string): string | undefined {
  const document = parseObject(text.replaceAll(region, 'REGION'));
  if (document === undefined) return undefined;
  const statements = asList(document['Statement']).map((statement) =>
    isObject(statement) ? { ...statement, Sid: undefined } : statement,
  );
  return JSON.stringify(canonical(statements));
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) {
    // One string and a list of one are the same to AWS, and no list has an order.
    const members = value.map(canonical);
    return members.length === 1 && typeof members[0] === 'string' ? members[0] : members.sort(byText);
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, member]) => [name, canonical(member)])
      .sort(byText),
  );
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

function parseStatement(statement: Record<string, unknown>): PolicyStatement {
  const members = (name: string): Members => {
    const isNot = statement[name] === undefined;
    return { list: strings(statement[isNot ? `Not${name}` : name]), isNot };
  };
  return {
    isAllow: statement['Effect'] === 'Allow',
    principals: members('Principal'),
    actions: members('Action'),
    resources: members('Resource'),
    isConditional: statement['Condition'] !== undefined,
  };
}

function holds({ list, isNot }: Members, test: (text: string) => boolean): boolean {
  return list.some(test) !== isNot;
}

function isNamed(principal: string, { arn, account, role }: Identity): boolean {
  if (principal === '*' || principal === arn) return true;
  if (role === undefined || !principal.includes(`:iam::${account}:role/`)) return false;
  // Names of roles are unique in an account, whatever their paths.
  return principal.split('/').at(-1) === role;
}

function isAccountOf(principal: string, { account }: Identity): boolean {
  return principal === account || principal.endsWith(`:iam::${account}:root`);
}

function isKey(keyArn: string): (resource: string) => boolean {
  return (resource) => matches(resource, keyArn, '');
}

/** As policies have it: `*` is any text, `?` one character. */
function matches(pattern: string, text: string, flags: 'i' | ''): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, flags).test(text);
}

/** The AWS principals of a statement are a text, a list, or under `AWS`; services and federations are nobody here. */
function strings(value: unknown): readonly string[] {
  const list = isObject(value) ? value['AWS'] : value;
  return asList(list).filter((member) => typeof member === 'string');
}

function asList(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
