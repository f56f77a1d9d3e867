/** Checks the code without running it. Exit status 0 when all checks pass. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { commentRuleViolations } from './comment-rule.ts';
import { importRuleViolations } from './import-rule.ts';

const root = join(import.meta.dirname, '..');

function passes(name: string, command: string, ...args: string[]): boolean {
  const { status } = spawnSync(join(root, 'node_modules/.bin', command), args, { cwd: root, stdio: 'inherit' });
  return report(name, status === 0);
}

function report(name: string, ok: boolean): boolean {
  console.log(`${ok ? 'ok' : 'FAILED'}: ${name}`);
  return ok;
}

function keeps(name: string, violations: readonly string[]): boolean {
  for (const violation of violations) console.log(`  ${violation}`);
  return report(name, violations.length === 0);
}

const results = [
  passes('types', 'tsc', '-p', '.'),
  passes('lint and format', 'biome', 'check', '--error-on-warnings', '.'),
  keeps('imports', importRuleViolations(root)),
  keeps('comments', commentRuleViolations(root)),
];
process.exitCode = results.every(Boolean) ? 0 : 1;
