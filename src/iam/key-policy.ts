/**
 * The rights that the text of a key policy gives to an identity. IAM policies may add or remove rights, and are not
 * seen here.
 */

/**
 * `allowed`: by the key policy alone. `conditional`: under conditions that are not evaluated. `delegated`: if an IAM
 * policy allows it too. `none`: not by this policy, or denied by it.
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

/** A list of a policy; `isNot` for the negated form, such as `NotAction`. */
interface Members {
  readonly list: readonly string[];
  readonly isNot: boolean;
}

/** An identity, as GetCallerIdentity and as policies name it. */
export interface Identity {
  readonly account: string;
  /** The ARN of the caller: the session of a role, a user, the account. */
  readonly arn: string;
  /** The ARN that IAM policies are attached to. A role's path cannot be known from its session. */
  readonly policyArn: string;
  /** The name of the role; undefined for other identities. */
  readonly role: string | undefined;
}

const IDENTITY_ARN = /^arn:([\w-]+):(?:iam|sts)::(\d{12}):([\w-]+)(?:\/([^/]+))?/;

/** Returns undefined for text that is no ARN of an identity. */
export function parseIdentity(arn: string): Identity | undefined {
  const [, partition, account, kind, name] = IDENTITY_ARN.exec(arn) ?? [];
  if (partition === undefined || account === undefined) return undefined;
  const role = kind === 'assumed-role' ? name : undefined;
  return { account, arn, role, policyArn: role === undefined ? arn : `arn:${partition}:iam::${account}:role/${role}` };
}

/** Returns undefined for text that is no policy. */
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
      // Another account's own IAM policies have to allow it as well.
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
 * Normalises a key policy, so that equivalent policies have equal texts: without statement ids, order, white space and
 * the Region. Returns undefined for text that is no policy.
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
    // AWS treats a string and a list of one alike, and ignores the order of lists.
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
  // Role names are unique in an account, whatever their paths.
  return principal.split('/').at(-1) === role;
}

function isAccountOf(principal: string, { account }: Identity): boolean {
  return principal === account || principal.endsWith(`:iam::${account}:root`);
}

function isKey(keyArn: string): (resource: string) => boolean {
  return (resource) => matches(resource, keyArn, '');
}

/** Matches with a policy's wildcards: `*` is any text, `?` one character. */
function matches(pattern: string, text: string, flags: 'i' | ''): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, flags).test(text);
}

/** The AWS principals of a statement: a text, a list, or the member `AWS`. Services and federated users are ignored. */
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
