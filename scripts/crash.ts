/**
 * Kills a scratch server, its agent, or both, again and again, and proves after each time that nothing was lost.
 *   npm run test:crash [-- --kills N] [--seed N]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/cli/system.ts';
import { startDevKms } from '../src/kms/embedded/index.ts';
import { runCampaign } from './lib/crash-campaign.ts';
import { EVERYTHING_ENCRYPTED, installDatabase, pluginOptions, ScratchServer } from './lib/scratch-server.ts';
import { seededRandom } from './lib/seeded-random.ts';

const { values } = parseArgs({ options: { kills: { type: 'string', default: '500' }, seed: { type: 'string' } } });
const kills = Number(values.kills);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const directory = mkdtempSync(join(tmpdir(), 'mariadb-aws-kms-crash-'));
const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
const server = new ScratchServer({
  directory,
  options: pluginOptions(kms.url, { ...EVERYTHING_ENCRYPTED, innodb_encryption_rotate_key_age: 1 }),
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(
    signal,
    () =>
      void server.kill().finally(() => {
        rmSync(directory, { recursive: true, force: true });
        process.exit(1);
      }),
  );
}
console.log(`${kills} kills, seed ${seed}`);
try {
  await installDatabase(server.datadir);
  await server.start();
  const started = performance.now();
  const result = await runCampaign({
    server,
    kills,
    random: seededRandom(seed),
    progress: (done) => {
      if (done % 25 === 0) console.log(`${done} kills, ${Math.round((performance.now() - started) / 1000)} s`);
    },
  });
  const { agent, server: servers, both } = result.kills;
  console.log(`killed: the agent ${agent} times, the server ${servers}, both ${both}`);
  console.log(`key versions: ${result.versions}; each kept its bytes, and each that was announced has its file`);
  console.log(`acknowledged rows read back: ${result.rows}; pages whose key version has a file: ${result.pages}`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await server.kill();
  await kms.close();
  rmSync(directory, { recursive: true, force: true });
}
