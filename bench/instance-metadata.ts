/** A stand-in for the instance metadata service of EC2, with tokens (IMDSv2). */
import { createServer } from 'node:http';
import type { AccessKey } from '../src/dev-kms/index.ts';

/** The credentials of the instance's role. */
export const ROLE_KEY: AccessKey = {
  accessKeyId: 'ASIADEVKMS0000000000',
  secretAccessKey: 'fake/secret/of/a/role/of/the/bench/0000',
  sessionToken: 'fake-session-token',
};

const TOKEN = 'fake-token-of-imdsv2';
const ROLES = '/latest/meta-data/iam/security-credentials/';
const HOUR_MS = 3_600_000;

/** Returns its URL on loopback. */
export async function startInstanceMetadata(): Promise<string> {
  const server = createServer(({ method, url, headers }, answer) => {
    const isKnown = headers['x-aws-ec2-metadata-token'] === TOKEN;
    if (method === 'PUT' && url === '/latest/api/token') answer.end(TOKEN);
    else if (isKnown && url === ROLES) answer.end('database');
    else if (isKnown && url === `${ROLES}database`) {
      const { accessKeyId, secretAccessKey, sessionToken } = ROLE_KEY;
      answer.setHeader('content-type', 'application/json');
      answer.end(
        JSON.stringify({
          Code: 'Success',
          Type: 'AWS-HMAC',
          AccessKeyId: accessKeyId,
          SecretAccessKey: secretAccessKey,
          Token: sessionToken,
          Expiration: new Date(Date.now() + HOUR_MS).toISOString(),
        }),
      );
    } else answer.writeHead(401).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}
