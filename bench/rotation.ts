/** How long a rotation of many keys takes with a slow KMS, and what storage engines notice of it. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { longestCall } from './encryption-bench.ts';
import { startKmsProcess } from './kms-process.ts';
import type { BenchOptions, Section } from './section.ts';
import { Servers } from './servers.ts';
import { table, withSpread } from './statistics.ts';

const LATENCY_MS = 20;

async function run({ directory, quick, rounds = quick ? 1 : 5, progress }: BenchOptions): Promise<string> {
  const keys = quick ? 100 : 1000;
  const servers = await Servers.open(directory);
  const kms = await startKmsProcess();
  try {
    const keyDirectory = join(directory, 'keys');
    await kms.makeKeys(keyDirectory, keys, 1);
    await kms.setLatency(LATENCY_MS);
    const server = await servers.ours('CBC', {
      aws_key_management_endpoint_url: kms.url,
      aws_key_management_keyfile_dir: keyDirectory,
    });
    const rotationMs: number[] = [];
    const longest = { rotating: [] as number[], idle: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      progress(`round ${round + 1} of ${rounds}`);
      await kms.takeCalls();
      const startMs = performance.now();
      await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
      rotationMs.push(performance.now() - startMs);
      const calls = await kms.takeCalls();
      if (calls !== 2 * keys) throw new Error(`${keys} keys were rotated with ${calls} calls`);
      longest.idle.push((await longestCall(server, 1000)).ns / 1e6);
      // Waits are measured in another rotation than the timed one, because measuring needs the processor.
      const watching = longestCall(server, quick ? 1500 : 4000);
      await pause(100);
      await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
      longest.rotating.push((await watching).ns / 1e6);
      const latest = await server.variable('STATUS', `Aws_key_management_key_${keys}_latest_version`);
      if (latest !== String(2 * round + 3)) throw new Error(`key ${keys} has version ${latest}`);
    }
    const seconds = rotationMs.map((ms) => ms / 1000);
    return table(
      [`${keys.toLocaleString('en')} keys, KMS answers after ${LATENCY_MS} ms`, ''],
      [
        ['rotation of all, s', withSpread(seconds, 2)],
        ['longest call for the latest version meanwhile, ms', withSpread(longest.rotating, 3)],
        ['longest call in a second without a rotation, ms', withSpread(longest.idle, 3)],
      ],
    );
  } finally {
    await servers.close();
    await kms.close();
  }
}

export const rotation: Section = { name: 'rotation', title: 'Rotation', run };
