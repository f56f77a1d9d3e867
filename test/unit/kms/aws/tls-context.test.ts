import {
  connect,
  createServer,
  getCACertificates,
  type SecureContext,
  setDefaultCACertificates,
  type TLSSocket,
} from 'node:tls';
import { expect, it } from 'vitest';
import { contextTrusting } from '../../../../src/kms/aws/tls-context.ts';
import { CertificateAuthority, type Identity } from '../../../support/certificates.ts';
import { listening } from '../../../support/fronts.ts';
import { cleanUp } from '../../../support/scratch.ts';

/** Starts a server whose certificate the issuer made, and returns its port. */
async function serve(authority: CertificateAuthority, issuer: Identity): Promise<number> {
  const { certificate, key } = authority.issue({ issuer, hosts: 'DNS:localhost' });
  const server = createServer(
    { cert: certificate, key },
    (socket: TLSSocket) => void socket.on('error', () => undefined),
  );
  server.on('tlsClientError', () => undefined);
  return await listening(server);
}

/** Returns the code of the client's refusal of the server; undefined: it trusts it. */
async function refusal(port: number, secureContext: SecureContext): Promise<unknown> {
  const socket = connect({ port, host: 'localhost', servername: 'localhost', secureContext });
  cleanUp(() => void socket.destroy());
  return await new Promise((resolve) => {
    socket.once('secureConnect', () => resolve(undefined));
    socket.once('error', (error) => resolve('code' in error ? error.code : error));
  });
}

it('a context trusts every certificate of the added texts and the usual ones, and changes no other context', {
  timeout: 30_000,
}, async () => {
  const authority = new CertificateAuthority();
  const [usual, first, second, third] = [authority.issue(), authority.issue(), authority.issue(), authority.issue()];
  const before = getCACertificates('default');
  cleanUp(() => setDefaultCACertificates(before));
  setDefaultCACertificates([usual.certificate]);
  const [usualPort, secondPort, thirdPort] = [
    await serve(authority, usual),
    await serve(authority, second),
    await serve(authority, third),
  ];
  const plain = contextTrusting();
  const context = contextTrusting([first.certificate + second.certificate, third.certificate]);
  for (const port of [usualPort, secondPort, thirdPort]) expect(await refusal(port, context)).toBeUndefined();
  for (const other of [plain, contextTrusting(), contextTrusting([first.certificate])]) {
    expect(await refusal(usualPort, other)).toBeUndefined();
    expect(await refusal(secondPort, other)).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  }
});
