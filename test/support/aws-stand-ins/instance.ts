import { type Issuer, metadataDocument } from './issuer.ts';
import { json, notFound, type Reply, type Silence, type StandIn, standIn } from './loopback.ts';

export interface InstanceStandIn extends StandIn {
  /** An answer in place of a token. */
  tokenTrouble: Reply | Silence | undefined;
  /** Answers without a token too, as IMDSv1 does. */
  acceptsV1: boolean;
  /** undefined: the instance has none. */
  role: string | undefined;
}

const ROLES = '/latest/meta-data/iam/security-credentials/';

/** The EC2 instance metadata service. */
export async function startInstance(issuer: Issuer): Promise<InstanceStandIn> {
  const tokens = new Set<string>();
  const service = await standIn(({ method, path, headers }) => {
    if (path === '/latest/api/token') {
      if (instance.tokenTrouble !== undefined) return instance.tokenTrouble;
      if (method !== 'PUT' || headers['x-aws-ec2-metadata-token-ttl-seconds'] === undefined) return notFound;
      const token = issuer.secret('metadata');
      tokens.add(token);
      return { status: 200, body: token };
    }
    const token = headers['x-aws-ec2-metadata-token'];
    if (!instance.acceptsV1 && (typeof token !== 'string' || !tokens.has(token))) {
      return { status: 401, body: 'Unauthorized' };
    }
    if (method !== 'GET' || instance.role === undefined) return notFound;
    if (path === ROLES) return { status: 200, body: instance.role };
    return path === ROLES + instance.role ? json(metadataDocument(issuer.session())) : notFound;
  });
  const instance: InstanceStandIn = Object.assign(service, {
    tokenTrouble: undefined,
    acceptsV1: false,
    role: 'database',
  });
  return instance;
}
