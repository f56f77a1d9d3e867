import { vi } from 'vitest';
import { type DevKms, startDevKms } from '../../../src/dev-kms/index.ts';
import { createKms, type Kms, type KmsOptions } from '../../../src/index.ts';
import { systemClock } from '../../../src/system-clock.ts';
import { TEST_ENVIRONMENT, writeKeys } from '../../support/key-directory.ts';
import { cleanUp, scratchDirectory } from '../../support/scratch.ts';

export const MASTER_KEY = 'alias/api';

/** The embedded KMS, and variables that give access to it, for the running test. */
export async function startKms(): Promise<DevKms> {
  for (const [name, value] of Object.entries(TEST_ENVIRONMENT)) vi.stubEnv(name, value);
  const server = await startDevKms({ clock: systemClock, aliases: [MASTER_KEY] });
  cleanUp(async () => {
    vi.unstubAllEnvs();
    await server.close();
  });
  return server;
}

export async function connect(server: DevKms, options: KmsOptions = {}): Promise<Kms> {
  const kms = await createKms({ region: 'us-east-1', endpointUrl: server.url, ...options });
  cleanUp(() => kms.close());
  return kms;
}

/** A directory with key 1 in versions 1 and 2, and key 2, as an agent writes it. */
export async function keyDirectory(server: DevKms): Promise<string> {
  const directory = scratchDirectory();
  await writeKeys(directory, server, MASTER_KEY, 'us-east-1');
  return directory;
}
