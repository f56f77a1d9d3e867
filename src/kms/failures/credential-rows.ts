import type { FailureRow } from '../../kms-failure.ts';

const webIdentity: FailureRow = {
  kind: 'operator',
  group: 'credentials',
  retry: 'briefly',
  hint: 'the web identity token cannot be used: check AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, that the server may read the file, the service account, and the OIDC provider of the role',
};
const credentialService: FailureRow = {
  kind: 'transient',
  group: 'credentials',
  retry: 'until-deadline',
  hint: 'the agent must reach the service that hands out the credentials (STS, or the SSO portal) before it can ask KMS: check its VPC endpoint, AWS_ENDPOINT_URL_STS, DNS, routes and proxy variables',
};
const profile: FailureRow = {
  kind: 'operator',
  group: 'credentials',
  retry: 'briefly',
  hint: 'check AWS_PROFILE and the shared files (`aws configure list-profiles` as the user of the agent): the profile needs keys, credential_process, sso_session, or role_arn with source_profile, credential_source or web_identity_token_file',
};
const containerEndpoint: FailureRow = {
  kind: 'operator',
  group: 'credentials',
  retry: 'briefly',
  hint: 'give the ECS task a task role, or the pod an EKS Pod Identity association, and check AWS_CONTAINER_CREDENTIALS_FULL_URI and the token in AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
};

/** Rows for errors of STS, and of explainCredentialFailure() for the other sources. */
export const CREDENTIAL_FAILURES: Readonly<Record<string, FailureRow>> = {
  AccessDenied: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'STS refused to hand out credentials: check the trust policy of the role, and for a pod the service account and audience it names',
  },
  InvalidIdentityTokenException: webIdentity,
  IDPCommunicationErrorException: webIdentity,
  IDPRejectedClaimException: webIdentity,
  WebIdentityIncomplete: webIdentity,
  WebIdentityTokenUnreadable: webIdentity,
  PartialEnvironment: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of the server, or neither',
  },
  PartialProfile: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'give the profile both aws_access_key_id and aws_secret_access_key, or take the section out of the shared file',
  },
  CredentialsMalformed: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'write the value anew without what does not belong there: a Kubernetes secret made with `echo` ends with a line feed (`echo -n`, or `kubectl create secret generic NAME --from-literal=KEY=VALUE`)',
  },
  SharedFileUnreadable: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'the user of the agent must be able to read this file (that of the server, or mariadb-aws-kms for a separate agent): check HOME, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, owner and mode (0600); for a service the place is /etc/mariadb-aws-kms/credentials, which a drop-in of its unit names (/usr/share/mariadb-aws-kms/mariadb-aws-kms.conf)',
  },
  ProfileUnusable: profile,
  CredentialProcessFailed: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'run the command of credential_process by hand as the user of the agent; it must print one JSON object with "Version": 1, AccessKeyId and SecretAccessKey',
  },
  CredentialsTimeout: {
    kind: 'transient',
    group: 'credentials',
    retry: 'until-deadline',
    hint: 'the source of the credentials hangs: run a credential_process by hand, and give it a limit (`timeout 20 COMMAND`)',
  },
  SsoSessionExpired: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'run `aws sso login` with this profile as the user of the agent; for a server that runs unattended a role is better',
  },
  LoginSessionUnusable: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'run `aws login` with this profile as the user of the agent, which must be allowed signin:CreateOAuth2Token; such a session ends after 12 hours at most: give a server a role instead',
  },
  SsoRefused: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'check sso_account_id, sso_role_name, sso_region and sso_start_url of the profile, and that IAM Identity Center assigns this permission set',
  },
  MfaRequired: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'nobody types a code for a server: take session credentials (`mariadb-aws-kms login --mfa-serial ARN`) or a role without that condition',
  },
  CredentialServiceUnreachable: credentialService,
  CredentialServiceTrouble: {
    kind: 'transient',
    group: 'credentials',
    retry: 'until-deadline',
    hint: 'the service that hands out the credentials (STS, or the SSO portal) has trouble; see the AWS Health Dashboard',
  },
  RegionDisabledException: {
    kind: 'operator',
    group: 'credentials',
    retry: 'no',
    hint: 'activate STS in this Region: IAM console, account settings',
  },
  ValidationError: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'STS does not accept the request: check the ARN of the role, the session name and duration_seconds',
  },
  ContainerEndpointRefused: containerEndpoint,
  ContainerTokenUnreadable: containerEndpoint,
  ContainerEndpointTrouble: {
    kind: 'transient',
    group: 'credentials',
    retry: 'until-deadline',
    hint: 'the container credentials endpoint does not work: check the ECS agent or the EKS Pod Identity agent on this node, and that the container may reach it',
  },
  InstanceMetadataHopLimit: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'from a container the answer needs a second hop: `aws ec2 modify-instance-metadata-options --instance-id ID --http-put-response-hop-limit 2`',
  },
  InstanceMetadataOff: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'switch it on: `aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled --http-tokens required`',
  },
  InstanceMetadataV1Only: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'IMDSv1 is not used, because any request forgery could read it: let what answers there offer IMDSv2 tokens; on a machine that is no EC2 instance give the server another identity, such as a file that AWS_SHARED_CREDENTIALS_FILE names in its unit (/etc/mariadb-aws-kms/credentials)',
  },
  InstanceMetadataNoRole: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'attach a role: `aws ec2 associate-iam-instance-profile --instance-id ID --iam-instance-profile Name=PROFILE`',
  },
  InstanceMetadataUnreachable: {
    kind: 'operator',
    group: 'credentials',
    retry: 'briefly',
    hint: 'check AWS_EC2_METADATA_SERVICE_ENDPOINT and that no firewall or network policy keeps the server from it',
  },
  InstanceMetadataTrouble: {
    kind: 'transient',
    group: 'credentials',
    retry: 'until-deadline',
    hint: 'the instance metadata service answers and gives no credentials: it usually recovers; check the role of the instance profile',
  },
};
