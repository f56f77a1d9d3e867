/**
 * Walks through docs/releasing.md: runs the commands of each step, and asks after a step without commands.
 *   npm run release:check [-- --from STEP]
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { readReleaseSteps } from './release-steps.ts';

const { values } = parseArgs({ options: { from: { type: 'string', default: '1' } } });
const root = join(import.meta.dirname, '..');
const first = Number(values.from);
const steps = readReleaseSteps();
if (!steps.some(({ number }) => number === first)) throw new Error(`--from: expected 1 to ${steps.length}`);

const terminal = createInterface({ input: process.stdin, output: process.stdout });
for (const { number, title, text, commands } of steps.filter((step) => step.number >= first)) {
  console.log(`\n== ${number}. ${title}`);
  if (commands === '') {
    console.log(text);
    if (!process.stdin.isTTY) stop(number, "is a person's, who answers in a terminal");
    const answer = await terminal.question('Is it done? [y/N] ');
    if (answer.trim().toLowerCase() !== 'y') stop(number, 'not done');
  } else {
    console.log(commands.trimEnd().replaceAll(/^/gm, '$ '));
    const { status } = spawnSync('sh', ['-eu', '-c', commands], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) stop(number, `ended with status ${status}`);
  }
}
terminal.close();
console.log('\nEvery step is done.');

function stop(number: number, reason: string): never {
  console.error(`\nrelease:check: step ${number} ${reason}; go on with: npm run release:check -- --from ${number}`);
  process.exit(1);
}
