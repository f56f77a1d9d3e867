import { type DevKms, TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { nodeFileSystem } from '../../src/disk/file-system.ts';
import { keyId } from '../../src/ids.ts';
import { openKeyring } from '../../src/keyring/open-keyring.ts';
import { parseSettings } from '../../src/keyring/settings.ts';
import { createAwsKmsClient } from '../../src/kms/aws/client.ts';
import { startDeadline } from '../../src/kms/retry.ts';
import { Secrets } from '../../src/secrets.ts';
import { systemClock, systemRandom } from '../../src/system-clock.ts';

/** Variables of a process that uses the embedded KMS, and no other source of credentials. */
export const TEST_ENVIRONMENT = {
  AWS_ACCESS_KEY_ID: TEST_ACCESS_KEY.accessKeyId,
  AWS_SECRET_ACCESS_KEY: TEST_ACCESS_KEY.secretAccessKey,
  AWS_EC2_METADATA_DISABLED: 'true',
};

/**
 * Fills an existing directory as a server's agent does: key 1 with two versions and key 2 with one, AES_CTR, bound to
 * `cluster=orders`.
 */
export async function writeKeys(directory: string, kms: DevKms, masterKey: string, region: string): Promise<void> {
  const settings = parseSettings(
    new Map([
      ['keyfile_dir', directory],
      ['master_key_id', masterKey],
      ['endpoint_url', kms.url],
      ['region', region],
      ['encryption_context', 'cluster=orders'],
      ['encryption_algorithm', 'AES_CTR'],
    ]),
  );
  const silent = () => undefined;
  const ring = await openKeyring(
    {
      clock: systemClock,
      random: systemRandom,
      fileSystem: nodeFileSystem,
      connectKms: async (chosen) => [
        await createAwsKmsClient(chosen, {
          proxyEnvironment: {},
          environment: TEST_ENVIRONMENT,
          trustedCertificates: undefined,
          clock: systemClock,
          secrets: new Secrets(),
        }),
      ],
    },
    {
      role: 'server',
      unnamedHeld: 0,
      settings,
      asksForMissing: false,
      events: { announce: silent, log: silent, count: silent, missing: silent },
    },
  );
  const deadline = startDeadline(systemClock, 60_000);
  try {
    for (const id of [keyId(1), keyId(2)]) await ring.open(id, true, deadline);
    await ring.keyring.rotate(keyId(1), deadline);
  } finally {
    deadline.cancel();
    ring.stop();
    await ring.close();
  }
}
