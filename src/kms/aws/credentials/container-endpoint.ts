import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { systemErrorCode } from '../../../errors.ts';

const TIMEOUT_MS = 1_000;
const ECS_HOST = 'http://169.254.170.2';

/** The URL from which the SDK gets the role of an ECS task or a pod; undefined: none, or the variable holds no URL. */
export function containerEndpoint(environment: NodeJS.ProcessEnv): URL | undefined {
  const relative = environment['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'];
  const url = relative ? ECS_HOST + relative : (environment['AWS_CONTAINER_CREDENTIALS_FULL_URI'] ?? '');
  return URL.canParse(url) ? new URL(url) : undefined;
}

/** The URL without its path, which in ECS authorises the request. */
export function containerHost(environment: NodeJS.ProcessEnv): string {
  return containerEndpoint(environment)?.host ?? '(no URL)';
}

/**
 * Repeats the request after the SDK failed, because the SDK hides the answer. Call it only for a URL that the SDK has
 * accepted: it receives the token.
 * @returns the HTTP status, or the error if there was no answer; the answer's body is ignored
 */
export async function examineContainerEndpoint(url: URL, environment: NodeJS.ProcessEnv): Promise<number | string> {
  let token = environment['AWS_CONTAINER_AUTHORIZATION_TOKEN'];
  const file = environment['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'];
  try {
    if (file) token = await readFile(file, 'utf8');
  } catch {
    return 'cannot read the token file';
  }
  // A separate agent: the global one may use a proxy, and this request must stay on this machine.
  const agent = url.protocol === 'https:' ? new HttpsAgent() : new Agent();
  try {
    return await ask(url, agent, token ? { Authorization: token } : {});
  } catch (error) {
    return systemErrorCode(error) ?? 'no answer';
  } finally {
    agent.destroy();
  }
}

function ask(url: URL, agent: Agent, headers: Readonly<Record<string, string>>): Promise<number | string> {
  const send = url.protocol === 'https:' ? httpsRequest : request;
  return new Promise((resolve, reject) => {
    const asked = send(url, { agent, headers, timeout: TIMEOUT_MS });
    asked.once('timeout', () => {
      resolve('no answer');
      asked.destroy();
    });
    asked.on('error', reject);
    asked.once('response', (answer) => {
      resolve(answer.statusCode ?? 0);
      answer.destroy();
    });
    asked.end();
  });
}
