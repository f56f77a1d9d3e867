/** Files and environment variables that the man page of the command lists. */
import { OPTION_FILE, SETUP_PATHS } from '../../src/setup/paths.ts';

/** The term of an entry with its text. */
type Entries = readonly (readonly [term: string, text: string])[];

const {
  agentDefaults,
  agentKeyDirectory,
  agentSocket,
  credentialsFile,
  keyDirectory,
  optionDirectories,
  trialDirectory,
} = SETUP_PATHS;

export const FILES: Entries = [
  [optionDirectories.map((directory) => `${directory}/${OPTION_FILE}`).join('\n'), "the plugin's options"],
  [keyDirectory, 'wrapped data keys; as precious as the data, and part of every backup'],
  [credentialsFile, "AWS credentials of the server's user, where no role gives them"],
  [agentSocket, 'socket of the separate agent, mariadb-aws-kms-agent.service'],
  [agentKeyDirectory, 'wrapped data keys of the separate agent'],
  [agentDefaults, "options and variables of the separate agent's unit"],
  ['/usr/share/mariadb-aws-kms', 'templates of option file and drop-ins, and rules for AppArmor'],
  [trialDirectory, 'everything of a trial without AWS'],
];

export const ENVIRONMENT: Entries = [
  ['AWS_ACCESS_KEY_ID\nAWS_SECRET_ACCESS_KEY\nAWS_SESSION_TOKEN', 'credentials'],
  ['AWS_PROFILE\nAWS_CONFIG_FILE\nAWS_SHARED_CREDENTIALS_FILE', 'the profile, and the files that define it'],
  ['AWS_WEB_IDENTITY_TOKEN_FILE\nAWS_ROLE_ARN', 'a role for a token, as in Kubernetes'],
  ['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI\nAWS_CONTAINER_CREDENTIALS_FULL_URI', 'the role of a task or pod'],
  ['AWS_EC2_METADATA_SERVICE_ENDPOINT', 'the service that knows the role of an instance'],
  ['AWS_REGION\nAWS_DEFAULT_REGION', 'the Region, where no option names one'],
  ['AWS_ENDPOINT_URL_KMS\nAWS_ENDPOINT_URL', 'the endpoint of KMS, where no option names one'],
  ['AWS_USE_FIPS_ENDPOINT\nAWS_USE_DUALSTACK_ENDPOINT', 'true: an endpoint of that kind'],
  ['AWS_CA_BUNDLE', 'certificates, in PEM, that are trusted beside the usual ones'],
  ['HTTPS_PROXY\nHTTP_PROXY\nALL_PROXY\nNO_PROXY', 'proxies'],
];

/** The places from which the variables are read. */
export const READ_FROM =
  'The agent has the variables of the server that starts it, or of its own unit. A command whose environment has none of them \
takes those of that server or unit.';
