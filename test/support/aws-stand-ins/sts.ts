import type { IssuedKey, Issuer } from './issuer.ts';
import { type Reply, type StandIn, standIn } from './loopback.ts';

export interface StsStandIn extends StandIn {
  /** The parameters of every call, with the access key that signed it ('' for the unsigned web identity call). */
  readonly calls: Readonly<Record<string, string>>[];
  /** The web identity token that it accepts. */
  webIdentityToken: string;
}

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html and API_AssumeRoleWithWebIdentity.html */
export async function startSts(issuer: Issuer): Promise<StsStandIn> {
  const calls: Readonly<Record<string, string>>[] = [];
  const service = await standIn(({ headers, body }) => {
    const parameters = Object.fromEntries(new URLSearchParams(body));
    const signedBy = /Credential=(\w+)\//.exec(headers.authorization ?? '')?.[1] ?? '';
    calls.push({ ...parameters, signedBy });
    const action = parameters['Action'] ?? '';
    if (action === 'AssumeRoleWithWebIdentity') {
      if (parameters['WebIdentityToken'] !== sts.webIdentityToken) {
        return stsError('InvalidIdentityToken', 'The web identity token that was passed could not be validated.');
      }
    } else if (!issuer.accessKeys.some(({ accessKeyId }) => accessKeyId === signedBy)) {
      return stsError('InvalidClientTokenId', 'The security token included in the request is invalid.', 403);
    }
    return granted(action, parameters['RoleArn'] ?? '', issuer.session());
  });
  const sts: StsStandIn = Object.assign(service, { calls, webIdentityToken: issuer.secret('web-identity') });
  return sts;
}

export function stsError(code: string, message: string, status = 400): Reply {
  return {
    status,
    contentType: 'text/xml',
    body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>request-of-stand-in</RequestId></ErrorResponse>`,
  };
}

function granted(action: string, roleArn: string, key: IssuedKey): Reply {
  return {
    status: 200,
    contentType: 'text/xml',
    body: `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>
<AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>${roleArn.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/s</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>${key.accessKeyId}</AccessKeyId><SecretAccessKey>${key.secretAccessKey}</SecretAccessKey><SessionToken>${key.sessionToken}</SessionToken><Expiration>${new Date(key.expiresAt).toISOString()}</Expiration></Credentials>
</${action}Result><ResponseMetadata><RequestId>request-of-stand-in</RequestId></ResponseMetadata></${action}Response>`,
  };
}
