import { type Issuer, metadataDocument } from './issuer.ts';
import { json, notFound, type StandIn, standIn } from './loopback.ts';

export interface ContainerStandIn extends StandIn {
  /** The value of AWS_CONTAINER_CREDENTIALS_FULL_URI. */
  readonly credentialsUrl: string;
  /** The required Authorization header; undefined: none is required. */
  token: string | undefined;
}

/** The credentials endpoint of the ECS agent and of the EKS Pod Identity agent. */
export async function startContainer(issuer: Issuer, host?: string): Promise<ContainerStandIn> {
  // In ECS the path alone authorises the request.
  const path = `/v2/credentials/${issuer.secret('path')}`;
  const service = await standIn((asked) => {
    if (asked.method !== 'GET' || asked.path !== path) return notFound;
    if (container.token !== undefined && asked.headers.authorization !== container.token) {
      return json({ Code: 'AccessDenied', Message: 'the token is not valid' }, 403);
    }
    return json(metadataDocument(issuer.session()));
  }, host);
  const container: ContainerStandIn = Object.assign(service, { credentialsUrl: service.url + path, token: undefined });
  return container;
}
