import { expect, it } from 'vitest';
import { runCampaign } from '../../campaigns/kills.ts';
import { EVERYTHING_ENCRYPTED } from '../../harness/scratch-server.ts';
import { seededRandom } from '../../harness/seeded-random.ts';
import { startKms, startServer } from '../support/lab.ts';

it('random kills of the server, the agent and both lose nothing', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { ...EVERYTHING_ENCRYPTED, innodb_encryption_rotate_key_age: 1 });
  const result = await runCampaign({
    server,
    moment: 'between writes',
    unwrap: (ciphertextBlob) => kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext,
    kills: 9,
    random: seededRandom(9),
    progress: () => undefined,
  });
  expect(result.kills.agent + result.kills.server + result.kills.both).toBe(9);
  // The number depends on the machine's load; two versions come with the server.
  expect(result.versions).toBeGreaterThan(2);
  expect(result.rows).toBeGreaterThan(0);
  expect(result.pages).toBeGreaterThan(0);
});
