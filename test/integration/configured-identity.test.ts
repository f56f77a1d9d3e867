import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions, type ScratchServer } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { startInstance } from '../support/aws-stand-ins/instance.ts';
import { Issuer, processDocument } from '../support/aws-stand-ins/issuer.ts';
import { keyFiles, newServer, sqlError, startKms } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

interface Place {
  readonly kms: DevKms;
  readonly server: ScratchServer;
  readonly issuer: Issuer;
  readonly home: string;
}

/** A server on a machine with a role that KMS accepts. */
async function onMachineWithRole(): Promise<Place> {
  const issuer = new Issuer();
  const kms = await startKms({ accessKeys: issuer.accessKeys });
  const instance = await startInstance(issuer);
  const home = scratchDirectory();
  const server = newServer(pluginOptions(kms.url, { aws_key_management_start_timeout: 15 }));
  server.environment = {
    AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url,
    AWS_CONFIG_FILE: join(home, 'config'),
    AWS_SHARED_CREDENTIALS_FILE: join(home, 'credentials'),
  };
  writeFileSync(join(home, 'config'), '');
  writeFileSync(join(home, 'credentials'), '');
  return { kms, server, issuer, home };
}

it("a failing credential_process never creates keys under the machine's own role, and statements work once it succeeds", async () => {
  const { kms, server, issuer, home } = await onMachineWithRole();
  const answer = join(home, 'answer.json');
  writeFileSync(join(home, 'config'), `[default]\ncredential_process = cat ${answer}\n`);
  await server.start();
  await server.sql('CREATE DATABASE d');
  const create = 'CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3';
  await sqlError(server, create);
  expect(server.log).toMatch(
    /AWS KMS plugin: .*CredentialProcessFailed: credential_process of profile "default" failed: cat: \S+answer\.json: No such file or directory; instance metadata at \S+ is another identity and is not used/,
  );
  expect(keyFiles(server.datadir)).toEqual([]);
  expect(kms.calls.list()).toEqual([]);

  const key = issuer.session();
  writeFileSync(answer, JSON.stringify(processDocument(key)));
  // The plugin remembers for a moment that it failed.
  await until('the table is made', () =>
    server.sql(create).then(
      () => true,
      () => false,
    ),
  );
  expect(new Set(kms.calls.list().map(({ accessKeyId }) => accessKeyId))).toEqual(new Set([key.accessKeyId]));
});

it('mfa_serial with a failing source is named without a stack trace, and the agent survives', async () => {
  const { kms, server, home } = await onMachineWithRole();
  const role =
    'role_arn = arn:aws:iam::111122223333:role/keys\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/u';
  writeFileSync(join(home, 'config'), `[default]\n${role}\n[profile base]\ncredential_process = false\n`);
  server.options = { ...server.options, aws_key_management: 'ON' };
  await server.start().catch(() => undefined);
  expect(server.log).toMatch(/MfaRequired: profile "default" asks for a multi-factor code \(mfa_serial\)/);
  expect(server.log).not.toMatch(/unhandled|UnhandledPromise|\n\s+at /i);
  expect(kms.calls.list()).toEqual([]);
});

it.each([
  [
    'eu-central-1a',
    /region: expected the name of a Region such as eu-central-1, got an availability zone: leave its letter out/,
  ],
  ['EU-CENTRAL-1', /region: expected the name of a Region such as eu-central-1$/m],
  ['Frankfurt', /region: expected the name of a Region such as eu-central-1$/m],
])('a server does not start with the malformed Region %s, and starts with a valid one', async (region, said) => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { aws_key_management_region: region }));
  await expect(server.start()).rejects.toThrow();
  expect(server.log).toMatch(said);
  expect(kms.calls.list()).toEqual([]);
  server.options = { ...server.options, aws_key_management_region: 'eu-central-1' };
  const from = server.log.length;
  await server.start().catch(() => undefined);
  // The embedded KMS has no key in that Region; the call itself is enough.
  expect(server.log.slice(from)).not.toContain('expected the name of a Region');
  expect(kms.calls.list().every((call) => call.region === 'eu-central-1')).toBe(true);
});
