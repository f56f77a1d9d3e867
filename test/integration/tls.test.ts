import { expect, it } from 'vitest';
import { pluginOptions, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { tlsFront } from '../support/fronts.ts';
import { newServer, operations, startKms } from '../support/lab.ts';

/** A KMS behind a certificate of a private authority, which accepts TLS 1.3 and one key exchange. */
async function kmsOverTls(group: string) {
  const kms = await startKms();
  const authority = new CertificateAuthority();
  const root = authority.issue();
  const front = await tlsFront(kms.url, authority.issue({ issuer: root, hosts: 'IP:127.0.0.1' }), {
    ecdhCurve: group,
    minVersion: 'TLSv1.3',
  });
  return { kms, front, bundle: root.certificateFile };
}

it.each(['X25519MLKEM768', 'X25519', 'P-384'])(
  'a server starts, rotates its keys and starts again with a KMS that exchanges keys by %s alone',
  { timeout: 120_000 },
  async (group) => {
    const { kms, front, bundle } = await kmsOverTls(group);
    const environment = { ...TEST_CREDENTIALS, AWS_CA_BUNDLE: bundle };
    const server = newServer(pluginOptions(front), { environment });
    await server.start();
    await server.sql('CREATE DATABASE d');
    await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
    await server.sql('INSERT INTO d.t VALUES (42)');
    await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
    const latest = async () => await server.variable('STATUS', 'Aws_key_management_key_3_latest_version');
    expect(await latest()).toBe('2');
    await server.stop();
    const before = operations(kms).length;
    await server.start();
    expect(await latest()).toBe('2');
    expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
    expect(operations(kms).slice(before)).toEqual(Array(4).fill('Decrypt'));
  },
);
