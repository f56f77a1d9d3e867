/**
 * Integration tests whose servers are watched for memory errors of the plugin.
 *   node campaigns/checked-server.ts asan|valgrind [FILE...]
 * asan: the plugin built with AddressSanitizer and UndefinedBehaviorSanitizer; what the server does itself is not looked at.
 * valgrind: the plugin that ships, under memcheck; findings without the plugin on the stack are the server's own.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AGENT, BUILD, PLUGIN_DIRECTORY } from '../harness/scratch-server.ts';

const LIBRARY = 'aws_key_management.so';
const SANITIZERS = '-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all';
/** Test files that start their servers and agents in the ordinary way, and do not measure time. */
const FILES = [
  'algorithm',
  'encryption',
  'hostile-sql',
  'kept-contexts',
  'lifecycle',
  'other-keys',
  'rotation',
  'sealed-key-cache',
  'variables',
].map((name) => `test/integration/${name}.test.ts`);

const [tool, ...files] = process.argv.slice(2);
const reports = mkdtempSync(join(tmpdir(), 'mak-reports-'));

/** A plugin directory with the sanitized plugin and the agent that ships. */
function sanitizedPlugin(): string {
  const out = join(BUILD, 'plugin-asan');
  execFileSync('make', ['-s', '-C', join(BUILD, '../plugin'), 'all', 'CC=gcc', `OUT=${out}`, `CFLAGS=${SANITIZERS}`]);
  execFileSync('ln', ['-sf', AGENT, out]);
  return out;
}

function runtimeOf(name: string): string {
  return execFileSync('gcc', [`-print-file-name=${name}.so`], { encoding: 'utf8' }).trim();
}

function surroundings(): { directory: string; launcher: string[] } {
  switch (tool) {
    case 'asan':
      return {
        directory: sanitizedPlugin(),
        launcher: [
          // Some tests preload a library, which comes after the sanitizer's.
          ...['sh', '-c', `LD_PRELOAD=${runtimeOf('libasan')}\${LD_PRELOAD:+:$LD_PRELOAD} exec env "$@"`, 'sh'],
          `ASAN_OPTIONS=detect_leaks=0:log_path=${join(reports, 'report')}`,
          `UBSAN_OPTIONS=print_stacktrace=1:log_path=${join(reports, 'report')}`,
        ],
      };
    case 'valgrind':
      return {
        directory: PLUGIN_DIRECTORY,
        launcher: [
          'valgrind',
          '--quiet',
          '--num-callers=30',
          // Threads that run when a server gives up are "possibly lost".
          '--show-leak-kinds=definite',
          '--xml=yes',
          `--xml-file=${join(reports, 'report.%p')}`,
        ],
      };
    default:
      throw new Error(`expected asan or valgrind, got ${tool}`);
  }
}

/** Returns the findings with a function of the plugin on their stack. */
function findings(file: string): string[] {
  const text = readFileSync(join(reports, file), 'utf8');
  const each = tool === 'valgrind' ? (text.match(/<error>[\s\S]*?<\/error>/g) ?? []) : [text];
  return each.filter((finding) => tool === 'asan' || finding.includes(LIBRARY));
}

try {
  const { directory, launcher } = surroundings();
  const { status } = spawnSync(
    'vitest',
    ['run', '--project', 'integration', '--testTimeout', '900000', ...(files.length > 0 ? files : FILES)],
    {
      stdio: 'inherit',
      env: {
        ...process.env,
        TEST_PLUGIN_DIRECTORY: directory,
        TEST_SERVER_LAUNCHER: JSON.stringify(launcher),
        // Under valgrind, which runs one thread at a time, mariadb-backup never catches up with the log.
        TEST_BACKUP_LAUNCHER: JSON.stringify(tool === 'asan' ? launcher : []),
      },
    },
  );
  const found = readdirSync(reports).flatMap(findings);
  for (const finding of found) console.log(finding);
  console.log(`${readdirSync(reports).length} reports, ${found.length} findings of the plugin`);
  process.exitCode = status === 0 && found.length === 0 ? 0 : 1;
} finally {
  rmSync(reports, { recursive: true, force: true });
}
