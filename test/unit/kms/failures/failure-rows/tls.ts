import type { Scene } from '../../../../support/aws-stand-ins/scene.ts';
import { CertificateAuthority, type Identity } from '../../../../support/certificates.ts';
import { tlsFront } from '../../../../support/fronts.ts';
import { type Failed, type FailureCases, failWith } from './case.ts';

const HOSTS = 'IP:127.0.0.1';

interface Shown {
  readonly server: Identity;
  readonly trusted: readonly Identity[];
}

function showing(said: string, make: (authority: CertificateAuthority) => Shown): (scene: Scene) => Promise<Failed> {
  return async (scene) => {
    const { server, trusted } = make(new CertificateAuthority());
    return await failWith(scene, said, {
      endpointUrl: await tlsFront(scene.kms.url, server),
      surroundings: { trustedCertificates: trusted.map(({ certificate }) => certificate) },
    });
  };
}

export const TLS: FailureCases = {
  EPROTO: (scene) =>
    failWith(scene, 'write EPROTO .*wrong version number.*', { endpointUrl: scene.kms.url.replace('http:', 'https:') }),
  CERT_HAS_EXPIRED: showing('certificate has expired', (authority) => {
    const root = authority.issue();
    return { server: authority.issue({ issuer: root, hosts: HOSTS, until: '20210101000000Z' }), trusted: [root] };
  }),
  CERT_NOT_YET_VALID: showing('certificate is not yet valid', (authority) => {
    const root = authority.issue();
    return { server: authority.issue({ issuer: root, hosts: HOSTS, from: '20980101000000Z' }), trusted: [root] };
  }),
  DEPTH_ZERO_SELF_SIGNED_CERT: showing('self-signed certificate', (authority) => ({
    server: authority.issue({ hosts: HOSTS }),
    trusted: [authority.issue()],
  })),
  SELF_SIGNED_CERT_IN_CHAIN: showing('self-signed certificate in certificate chain', (authority) => {
    const root = authority.issue();
    return {
      server: authority.issue({ issuer: root, hosts: HOSTS, shows: [root] }),
      trusted: [authority.issue()],
    };
  }),
  // The bundle has the intermediate authority and not its root.
  UNABLE_TO_GET_ISSUER_CERT: showing('unable to get issuer certificate', (authority) => {
    const middle = authority.issue({ issuer: authority.issue() });
    return { server: authority.issue({ issuer: middle, hosts: HOSTS }), trusted: [middle] };
  }),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: showing('unable to get local issuer certificate', (authority) => {
    const middle = authority.issue({ issuer: authority.issue() });
    return {
      server: authority.issue({ issuer: middle, hosts: HOSTS, shows: [middle] }),
      trusted: [authority.issue()],
    };
  }),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: showing('unable to verify the first certificate', (authority) => ({
    server: authority.issue({ issuer: authority.issue(), hosts: HOSTS }),
    trusted: [authority.issue()],
  })),
  ERR_TLS_CERT_ALTNAME_INVALID: showing("Hostname/IP does not match certificate's altnames: .*", (authority) => {
    const root = authority.issue();
    return { server: authority.issue({ issuer: root, hosts: 'DNS:elsewhere.example' }), trusted: [root] };
  }),
};
