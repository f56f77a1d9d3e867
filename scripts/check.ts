/** Checks the code without running it. Exit status 0 when all checks pass. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
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

function importsPointDown(): boolean {
  const violations = importRuleViolations(root);
  for (const violation of violations) console.log(`  ${violation}`);
  return report('imports', violations.length === 0);
}

const results = [
  passes('types', 'tsc', '-p', '.'),
  passes('lint and format', 'biome', 'check', '--error-on-warnings', '.'),
  importsPointDown(),
];
process.exitCode = results.every(Boolean) ? 0 : 1;
