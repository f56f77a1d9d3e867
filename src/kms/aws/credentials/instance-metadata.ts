import { Agent, request } from 'node:http';

/**
 * The state of the EC2 instance metadata service (IMDSv2).
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
 */
export type MetadataState =
  | { readonly is: 'unreachable' | 'hop-limit' | 'off' | 'v1-only' | 'no-role' }
  | { readonly is: 'trouble'; readonly detail: string };

interface Reply {
  readonly end: 'answered' | 'silence' | 'broken' | 'no connection';
  /** HTTP status; 0: no answer. */
  readonly status: number;
  readonly body: string;
}

const TIMEOUT_MS = 1_000;
const ROLE_PATH = '/latest/meta-data/iam/security-credentials/';
const MAX_BODY = 4_096;

export function metadataEndpoint(environment: NodeJS.ProcessEnv): string {
  const mode = environment['AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE'];
  return (
    environment['AWS_EC2_METADATA_SERVICE_ENDPOINT'] ||
    (mode === 'IPv6' ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254')
  );
}

/**
 * Repeats the request after the SDK failed, because the SDK gives the same error for every cause. Never requests the
 * credentials themselves.
 */
export async function examineInstanceMetadata(endpoint: string): Promise<MetadataState> {
  // A separate agent: the global one may use a proxy, and a proxy does not know this machine's role.
  const agent = new Agent();
  try {
    const token = await ask(agent, endpoint, 'PUT', '/latest/api/token', {
      'x-aws-ec2-metadata-token-ttl-seconds': '60',
    });
    // With a hop limit of one, packets reach the host but not a container on it: the connection opens, and no answer
    // arrives.
    if (token.end === 'silence') return { is: 'hop-limit' };
    if (token.end === 'no connection') return { is: 'unreachable' };
    if (token.end === 'broken') return { is: 'trouble', detail: 'the connection broke' };
    if (token.status === 403) return { is: 'off' };
    if (token.status === 404 || token.status === 405) return { is: 'v1-only' };
    if (token.status !== 200) return { is: 'trouble', detail: `the request for a token got HTTP ${token.status}` };
    const role = await ask(agent, endpoint, 'GET', ROLE_PATH, { 'x-aws-ec2-metadata-token': token.body });
    if (role.status === 404 || (role.status === 200 && role.body.trim() === '')) return { is: 'no-role' };
    if (role.status === 200) return { is: 'trouble', detail: 'no usable credentials came' };
    return { is: 'trouble', detail: role.end !== 'answered' ? 'no role came' : `the role got HTTP ${role.status}` };
  } finally {
    agent.destroy();
  }
}

function ask(
  agent: Agent,
  endpoint: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<Reply> {
  return new Promise((resolve) => {
    let connected = false;
    const asked = request(new URL(path, endpoint), { agent, method, headers, timeout: TIMEOUT_MS });
    const fail = (end: Reply['end']): void => {
      resolve({ end: connected ? end : 'no connection', status: 0, body: '' });
      asked.destroy();
    };
    asked.once('socket', (socket) => {
      socket.once('connect', () => {
        connected = true;
      });
    });
    asked.once('timeout', () => fail('silence'));
    asked.on('error', () => fail('broken'));
    asked.once('response', (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        if (body.length < MAX_BODY) body += chunk;
      });
      answer.once('error', () => fail('broken'));
      answer.once('end', () => resolve({ end: 'answered', status: answer.statusCode ?? 0, body }));
    });
    asked.end();
  });
}
