import type { Issuer } from './issuer.ts';
import { json, notFound, type StandIn, standIn } from './loopback.ts';

export interface SsoStandIn extends StandIn {
  /** The access token of the logged-in user. */
  accessToken: string;
  refreshToken: string;
}

/**
 * The portal's GetRoleCredentials and the OIDC service's CreateToken, on one port.
 * https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
 */
export async function startSso(issuer: Issuer): Promise<SsoStandIn> {
  const service = await standIn(({ method, path, query, headers, body }) => {
    if (method === 'POST' && path === '/token') {
      const { refreshToken } = JSON.parse(body) as { refreshToken?: string };
      if (refreshToken !== sso.refreshToken) return json({ error: 'invalid_grant' }, 400);
      sso.accessToken = issuer.secret('sso-access');
      sso.refreshToken = issuer.secret('sso-refresh');
      return json({
        accessToken: sso.accessToken,
        refreshToken: sso.refreshToken,
        tokenType: 'Bearer',
        expiresIn: 3600,
      });
    }
    if (method !== 'GET' || path !== '/federation/credentials') return notFound;
    if (headers['x-amz-sso_bearer_token'] !== sso.accessToken) {
      return ssoError('UnauthorizedException', 'Session token not found or invalid', 401);
    }
    if (query.get('account_id') !== '111122223333' || query.get('role_name') !== 'keys') {
      return ssoError('ForbiddenException', 'No access', 403);
    }
    const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = issuer.session();
    return json({ roleCredentials: { accessKeyId, secretAccessKey, sessionToken, expiration: expiresAt } });
  });
  const sso: SsoStandIn = Object.assign(service, {
    accessToken: issuer.secret('sso-access'),
    refreshToken: issuer.secret('sso-refresh'),
  });
  return sso;
}

function ssoError(type: string, message: string, status: number) {
  return json({ __type: type, message }, status);
}
