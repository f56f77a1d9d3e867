import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { startContainer } from '../../../../support/aws-stand-ins/container.ts';
import { type InstanceStandIn, startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import type { Reply } from '../../../../support/aws-stand-ins/loopback.ts';
import { keysOf, type Scene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSso } from '../../../../support/aws-stand-ins/sso.ts';
import { startSts, stsError } from '../../../../support/aws-stand-ins/sts.ts';
import { failureOf } from '../../../../support/failing-call.ts';
import type { Failed, FailureCase, FailureCases } from './case.ts';

const ROLE = 'arn:aws:iam::111122223333:role/keys';

async function fails(scene: Scene, said: string, requestTimeoutMs = 0): Promise<Failed> {
  return { failure: await failureOf({ endpointUrl: scene.kmsUrl, requestTimeoutMs }), said };
}

/** STS refuses the web identity. */
function refusedBySts(code: string, status = 400): FailureCase {
  return async (scene) => {
    await webIdentity(scene, stsError(code, 'what STS said', status));
    return { ...(await fails(scene, 'web identity, STS: what STS said')), requestId: 'request-of-stand-in' };
  };
}

async function webIdentity(scene: Scene, trouble?: Reply): Promise<string> {
  const sts = await startSts(scene.issuer);
  sts.trouble = trouble;
  const file = scene.file('token', sts.webIdentityToken);
  scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: ROLE, AWS_ENDPOINT_URL_STS: sts.url });
  return sts.url;
}

function profile(lines: string, said: string, requestTimeoutMs?: number): FailureCase {
  return (scene) => {
    scene.file('.aws/credentials', `[base]\n${keysOf(scene.issuer.user())}`);
    scene.file('.aws/config', `[default]\n${lines}\n`);
    return fails(scene, said, requestTimeoutMs);
  };
}

function sso(lifetimeMs: number, role: string, said: string): FailureCase {
  return async (scene) => {
    const portal = await startSso(scene.issuer);
    scene.environment({ AWS_ENDPOINT_URL_SSO: portal.url });
    const session = { accessToken: portal.accessToken, expiresAt: new Date(Date.now() + lifetimeMs).toISOString() };
    const cached = createHash('sha1').update('https://k/start').digest('hex');
    scene.file(`.aws/sso/cache/${cached}.json`, JSON.stringify(session));
    scene.file(
      '.aws/config',
      `[default]\nsso_start_url = https://k/start\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = ${role}\n`,
    );
    return await fails(scene, said);
  };
}

function container(said: string, spoil: (scene: Scene, url: string) => void): FailureCase {
  return async (scene) => {
    const endpoint = await startContainer(scene.issuer);
    endpoint.token = scene.issuer.secret('container');
    scene.environment({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.credentialsUrl,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: scene.file('token', endpoint.token),
    });
    spoil(scene, endpoint.url);
    return await fails(scene, `container endpoint [\\w.:]+: ${said}`);
  };
}

function instance(said: string, spoil: (service: InstanceStandIn, scene: Scene) => void): FailureCase {
  return async (scene) => {
    const service = await startInstance(scene.issuer);
    scene.environment({ AWS_EC2_METADATA_DISABLED: undefined, AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url });
    spoil(service, scene);
    return await fails(scene, `instance metadata at http://[\\w.:]+${said}`);
  };
}

const STS_REFUSALS = [
  'InvalidIdentityTokenException',
  'IDPCommunicationErrorException',
  'IDPRejectedClaimException',
  'RegionDisabledException',
  'ValidationError',
];

export const CREDENTIALS: FailureCases = {
  CredentialsProviderError: (scene) => fails(scene, 'Could not load credentials from any providers'),
  AccessDenied: refusedBySts('AccessDenied', 403),
  ...Object.fromEntries(
    // The code that STS sends; the SDK makes the name of it.
    STS_REFUSALS.map((name) => [name, refusedBySts(name.replace(/^(I.*)Exception$/, '$1'))]),
  ),
  WebIdentityIncomplete: async (scene) => {
    await webIdentity(scene);
    scene.environment({ AWS_ROLE_ARN: undefined });
    return await fails(scene, 'AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not');
  },
  WebIdentityTokenUnreadable: async (scene) => {
    await webIdentity(scene);
    const nothing = join(scene.home, 'nothing');
    scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: nothing });
    return await fails(scene, `web identity: cannot read the token file ${nothing} \\(ENOENT\\)`);
  },
  PartialEnvironment: (scene) => {
    scene.environment({ AWS_ACCESS_KEY_ID: 'AKIA' });
    return fails(scene, 'AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not');
  },
  PartialProfile: profile(
    'aws_access_key_id = AKIA',
    'profile "default" has aws_access_key_id and not aws_secret_access_key',
  ),
  CredentialsMalformed: (scene) => {
    const { accessKeyId, secretAccessKey } = scene.issuer.user();
    scene.environment({ AWS_ACCESS_KEY_ID: `${accessKeyId}\n`, AWS_SECRET_ACCESS_KEY: secretAccessKey });
    return fails(scene, 'AWS_ACCESS_KEY_ID ends with a line feed');
  },
  SharedFileUnreadable: (scene) => {
    const nothing = join(scene.home, 'nothing');
    scene.environment({ AWS_SHARED_CREDENTIALS_FILE: nothing });
    return fails(scene, `cannot read ${nothing} \\(ENOENT\\)`);
  },
  ProfileUnusable: profile(
    `role_arn = ${ROLE}\ncredential_source = Ec2`,
    'profile "default": Unsupported credential source in profile default\\. Got Ec2, .*',
  ),
  CredentialProcessFailed: profile('credential_process = false', 'credential_process of profile "default" failed'),
  CredentialsTimeout: profile(
    'credential_process = sleep 1',
    'credential_process of profile "default" did not answer in 0\\.3 s',
    100,
  ),
  SsoSessionExpired: sso(-1, 'keys', 'profile "default": .* has expired'),
  LoginSessionUnusable: profile(
    'login_session = arn:aws:iam::111122223333:user/alice',
    'profile "default": Failed to load token from .*/\\.aws/login/cache/.*\\.json: Error: ENOENT: .*',
  ),
  SsoRefused: sso(3_600_000, 'other', 'profile "default", SSO: ForbiddenException: No access'),
  MfaRequired: profile(
    `role_arn = ${ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/u`,
    'profile "default" asks for a multi-factor code \\(mfa_serial\\)',
  ),
  CredentialServiceUnreachable: async (scene) => {
    await webIdentity(scene);
    scene.environment({ AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:1' });
    return await fails(scene, 'web identity, STS: connect ECONNREFUSED 127\\.0\\.0\\.1:1');
  },
  CredentialServiceTrouble: async (scene) => {
    await webIdentity(scene, stsError('InternalFailure', '', 500));
    return { ...(await fails(scene, 'web identity, STS: InternalFailure')), requestId: 'request-of-stand-in' };
  },
  ContainerEndpointRefused: container('HTTP 403', (scene) => {
    scene.environment({ AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: scene.file('token', 'another') });
  }),
  ContainerTokenUnreadable: container('cannot read the token file .*/nothing \\(ENOENT\\)', (scene) => {
    scene.environment({ AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(scene.home, 'nothing') });
  }),
  ContainerEndpointTrouble: container('connect ECONNREFUSED 127\\.0\\.0\\.1:1', (scene) => {
    scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:1/' });
  }),
  InstanceMetadataHopLimit: instance(': the request for a token is not answered', (service) => {
    service.tokenTrouble = 'hang';
  }),
  InstanceMetadataOff: instance(' is switched off \\(HTTP 403\\)', (service) => {
    service.tokenTrouble = { status: 403, body: '' };
  }),
  InstanceMetadataV1Only: instance(' gives no token: it is not IMDSv2', (service) => {
    service.acceptsV1 = true;
    service.tokenTrouble = { status: 404, body: '' };
  }),
  InstanceMetadataNoRole: instance(': the instance has no role', (service) => {
    service.role = undefined;
  }),
  InstanceMetadataUnreachable: instance(' cannot be reached', (_, scene) => {
    scene.environment({ AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1' });
  }),
  InstanceMetadataTrouble: instance(': the request for a token got HTTP 500', (service) => {
    service.tokenTrouble = { status: 500, body: '' };
  }),
};
