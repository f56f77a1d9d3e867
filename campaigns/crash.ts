/**
 * Kills a scratch server, its agent, or both, again and again, and proves after each time that nothing was lost.
 *   npm run test:crash [-- --kills N] [--seed N]
 *   npm run test:crash:control           MariaDB's debug_key_management has the keys; only the server is killed
 */
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { withScratchDirectory } from '../harness/scratch-directory.ts';
import {
  EVERYTHING_ENCRYPTED,
  installDatabase,
  pluginOptions,
  ScratchServer,
  type ServerOptions,
  serverPlugin,
} from '../harness/scratch-server.ts';
import { seededRandom } from '../harness/seeded-random.ts';
import { systemClock } from '../src/cli/system.ts';
import { startDevKms } from '../src/dev-kms/index.ts';
import { type CampaignResult, runCampaign } from './kills.ts';

/** The servers' place: not tmpfs, on which a kill can tear a page beyond what InnoDB mends. */
const ON_DISK = process.env['TMPDIR'] ?? '/var/tmp';
/** Kills in one directory. Its data grows with each kill, and so does the time for checking it. */
const KILLS_OF_A_DIRECTORY = 100;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '500' },
    seed: { type: 'string' },
    control: { type: 'boolean', default: false },
  },
});
const kills = Number(values.kills);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const random = seededRandom(seed);
const started = performance.now();

function keys(kmsUrl: string): ServerOptions {
  if (!values.control) return pluginOptions(kmsUrl);
  return {
    plugin_dir: dirname(serverPlugin('debug_key_management')),
    plugin_load_add: 'debug_key_management',
    plugin_maturity: 'experimental',
  };
}

/** @param before number of kills in earlier directories */
async function campaign(directory: string, count: number, before: number): Promise<CampaignResult> {
  const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
  const server = new ScratchServer({
    directory,
    options: { ...keys(kms.url), ...EVERYTHING_ENCRYPTED, innodb_encryption_rotate_key_age: 1 },
  });
  try {
    await installDatabase(server.datadir);
    await server.start();
    return await runCampaign({
      server,
      moment: 'at once',
      unwrap: values.control
        ? undefined
        : (ciphertextBlob) => kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext,
      kills: count,
      random,
      progress: (done) => {
        const all = before + done;
        if (all % 25 === 0) console.log(`${all} kills, ${Math.round((performance.now() - started) / 1000)} s`);
      },
    });
  } finally {
    await server.kill();
    await kms.close();
  }
}

console.log(`${kills} kills, seed ${seed}`);
const results: CampaignResult[] = [];
for (let done = 0; done < kills; done += KILLS_OF_A_DIRECTORY) {
  const count = Math.min(KILLS_OF_A_DIRECTORY, kills - done);
  results.push(
    await withScratchDirectory('mariadb-aws-kms-crash-', (directory) => campaign(directory, count, done), ON_DISK),
  );
}
const sum = (of: (result: CampaignResult) => number): number =>
  results.reduce((total, result) => total + of(result), 0);
const [agents, servers, both] = (['agent', 'server', 'both'] as const).map((victim) =>
  sum((result) => result.kills[victim]),
);
console.log(
  `killed: the agent ${agents} times, the server ${servers}, both ${both}; data directories: ${results.length}`,
);
if (!values.control)
  console.log(`key versions: ${sum((r) => r.versions)}; each kept its bytes, and each that was announced has its file`);
if (!values.control)
  console.log(`starts that changed between kept contexts and the server's functions: ${sum((r) => r.startsWithOther)}`);
console.log(`acknowledged rows read back: ${sum((r) => r.rows)}`);
console.log(
  `redo logs that InnoDB left without an end: ${sum((r) => r.logsWithoutEnd)}; starts that failed on one, and went through with the end: ${sum((r) => r.startsWithoutEnd)}`,
);
if (!values.control) console.log(`pages that open with the key version that they name: ${sum((r) => r.pages)}`);
