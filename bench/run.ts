/**
 * Measures, cross-checked and side by side, and prints the tables of docs/performance.md.
 *   npm run bench [-- --quick] [--only NAME,NAME…] [--rounds N] [--write]
 * --quick: small and short, for a look whether it runs. --write: puts the tables into the document. Exit status 1 when a
 * section failed; the others run nevertheless.
 */
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeSection } from '../harness/document-section.ts';
import { withScratchDirectory } from '../harness/scratch-directory.ts';
import { installedServer } from '../harness/scratch-server.ts';
import type { Section } from './section.ts';
import { SECTIONS } from './sections.ts';

const DOCUMENT = join(import.meta.dirname, '../docs/performance.md');

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const { quick, write } = values;
if (quick && write) throw new Error('--write expects a whole run: the document holds no figures of --quick');
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))
  throw new Error(`--rounds expects a whole number above 0, got ${values.rounds}`);

function chosen(): readonly Section[] {
  if (values.only === undefined) return SECTIONS;
  return values.only.split(',').map((name) => {
    const section = SECTIONS.find((each) => each.name === name);
    if (section === undefined)
      throw new Error(`--only expects names of ${SECTIONS.map((each) => each.name).join(', ')}; got ${name}`);
    return section;
  });
}

/** The machine and versions that the figures depend on. */
function circumstances(): string {
  const server = /Ver (\S+)/.exec(installedServer())?.[1] ?? 'unknown';
  const load = loadavg()[0] ?? Number.NaN;
  return `${new Date().toISOString().slice(0, 10)}, ${cpus()[0]?.model ?? 'unknown CPU'} with ${availableParallelism()} cores, Linux ${release().split('.')[0]}, MariaDB ${server}, load average before ${load.toFixed(1)}`;
}

async function run(section: Section): Promise<string> {
  const started = performance.now();
  const before = circumstances();
  console.log(`## ${section.title} (${section.name})\n`);
  try {
    const progress = (text: string): void => console.error(`  ${section.name}: ${text}`);
    const text = await withScratchDirectory('mak-bench-', (directory) =>
      section.run({ quick, rounds, directory, progress }),
    );
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const whole = `${text}\n*${before}; took ${seconds} s.*\n`;
    console.log(whole);
    if (write) writeSection(DOCUMENT, `made by npm run bench: ${section.name}`, `\n${whole}\n`);
    return `${section.name}: ${seconds} s`;
  } catch (error) {
    process.exitCode = 1;
    console.error(error);
    return `${section.name}: FAILED`;
  }
}

const started = performance.now();
const results: string[] = [];
for (const section of chosen()) results.push(await run(section));
console.log(`${results.join(', ')}; together ${((performance.now() - started) / 1000).toFixed(0)} s`);
