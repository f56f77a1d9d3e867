import { expect, it } from 'vitest';
import { runCampaign } from '../../scripts/lib/crash-campaign.ts';
import { RacedServer } from '../../scripts/lib/log-end-race.ts';
import { EVERYTHING_ENCRYPTED, pluginOptions } from '../../scripts/lib/scratch-server.ts';
import { seededRandom } from '../../scripts/lib/seeded-random.ts';
import { TEMPLATE } from '../support/global-setup.ts';
import { startKms, startServer } from '../support/lab.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

it('kills of the server, the agent and both, at random moments, lose nothing', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { ...EVERYTHING_ENCRYPTED, innodb_encryption_rotate_key_age: 1 });
  const result = await runCampaign({
    server,
    unwrap: (ciphertextBlob) => kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext,
    kills: 9,
    random: seededRandom(9),
    progress: () => undefined,
  });
  expect(result.kills.agent + result.kills.server + result.kills.both).toBe(9);
  // How many depends on how busy the machine is; two come with the server.
  expect(result.versions).toBeGreaterThan(2);
  expect(result.rows).toBeGreaterThan(0);
  expect(result.pages).toBeGreaterThan(0);
});

it('a redo log that InnoDB leaves without an end is seen before the start, and loses nothing once it has one', async () => {
  const kms = await startKms();
  const options = pluginOptions(kms.url, EVERYTHING_ENCRYPTED);
  const server = new RacedServer({ directory: scratchDirectory(), options });
  server.copyDatabase(TEMPLATE);
  cleanUp(() => server.kill());
  await server.start();
  const result = await runCampaign({
    server,
    unwrap: (ciphertextBlob) => kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext,
    kills: 1,
    // Chooses the server.
    random: () => 0.5,
    progress: () => undefined,
  });
  expect(result).toMatchObject({ kills: { agent: 0, server: 1, both: 0 }, logsWithoutEnd: 1 });
  expect(result.rows).toBeGreaterThan(0);
});
