import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cleanUp } from './scratch.ts';

/** The parameters of a request to STS, without its signature. */
export type StsCall = Readonly<Record<string, string>>;

export interface StandInSts {
  readonly url: string;
  readonly calls: readonly StsCall[];
}

export interface StsBehaviour {
  /** The valid six digits of the MFA code. */
  readonly code?: string;
  /** The error to answer every call with. */
  readonly refuse?: { readonly name: string; readonly message: string; readonly status?: number };
  readonly expiration?: string;
}

export const IDENTITY = 'arn:aws:iam::111122223333:user/mariadb';
export const SESSION = {
  accessKeyId: 'ASIASESSIONKEY000000',
  secretAccessKey: 'session/secret/for/tests/only/q8ZtW3nLxB',
  sessionToken: 'FwoGZXIvYXdzEXAMPLETOKENxSESSION==',
};

/** STS on loopback, in its query protocol: GetCallerIdentity and GetSessionToken. */
export async function startIdentitySts(behaviour: StsBehaviour = {}): Promise<StandInSts> {
  const calls: StsCall[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const call = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
      calls.push(call);
      const { status, body } = answer(call, behaviour);
      response.writeHead(status, { 'content-type': 'text/xml', 'x-amzn-requestid': 'request-of-sts' }).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${address.port}`, calls };
}

function answer(call: StsCall, behaviour: StsBehaviour): { readonly status: number; readonly body: string } {
  if (behaviour.refuse !== undefined) return refusal(behaviour.refuse);
  const action = call['Action'] ?? '';
  if (action === 'GetCallerIdentity') {
    return success(action, `<Arn>${IDENTITY}</Arn><UserId>AIDAEXAMPLE</UserId><Account>111122223333</Account>`);
  }
  if (call['TokenCode'] !== (behaviour.code ?? '123456')) {
    const message = 'MultiFactorAuthentication failed with invalid MFA one time pass code. ';
    return refusal({ name: 'AccessDenied', message, status: 403 });
  }
  const seconds = Number(call['DurationSeconds']);
  const expiration = behaviour.expiration ?? new Date(Date.now() + seconds * 1000).toISOString();
  return success(
    action,
    `<Credentials><AccessKeyId>${SESSION.accessKeyId}</AccessKeyId>` +
      `<SecretAccessKey>${SESSION.secretAccessKey}</SecretAccessKey>` +
      `<SessionToken>${SESSION.sessionToken}</SessionToken><Expiration>${expiration}</Expiration></Credentials>`,
  );
}

function success(action: string, result: string): { readonly status: number; readonly body: string } {
  const body =
    `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>${result}</${action}Result>` +
    `<ResponseMetadata><RequestId>request-of-sts</RequestId></ResponseMetadata></${action}Response>`;
  return { status: 200, body };
}

function refusal({ name, message, status = 400 }: { name: string; message: string; status?: number }) {
  const body =
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>' +
    `<Code>${name}</Code><Message>${message}</Message></Error><RequestId>request-of-sts</RequestId></ErrorResponse>`;
  return { status, body };
}
