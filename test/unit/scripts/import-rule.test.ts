import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { importRuleViolations } from '../../scripts/lib/import-rule.ts';

function project(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'mak-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const [file, text] of Object.entries({ 'plugin/keytable.c': '#include <string.h>\n', ...files })) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return root;
}

it('accepts imports that point down', () => {
  const root = project({
    'src/errors.ts': 'export const x = 1;\n',
    'src/keyring/keyring.ts':
      "import { x } from '../errors.ts';\nimport type { Y } from '../format/frames.ts';\nexport { x, type Y };\n",
    'src/format/frames.ts': "import { x } from '../errors.ts';\nexport type Y = typeof x;\n",
    'src/cli/main.ts': 'console.log(process.argv);\n',
    'plugin/server.c': '#include <mysql/plugin.h>\n',
  });
  expect(importRuleViolations(root)).toEqual([]);
});

it.each([
  [
    'src/format/a.ts',
    "import { x } from '../keyring/b.ts';\n",
    'src/format/a.ts (format) imports src/keyring/b.ts (keyring)',
  ],
  ['src/errors.ts', "export { x } from './kms/b.ts';\n", 'src/errors.ts (leaf) imports src/kms/b.ts (kms)'],
  ['src/kms/a.ts', "const y = await import('../agent/b.ts');\n", 'src/kms/a.ts (kms) imports src/agent/b.ts (agent)'],
  [
    'src/agent/a.ts',
    'import {\n  x,\n  y,\n} from "../cli/b.ts";\n'.replaceAll('"', "'"),
    'src/agent/a.ts (agent) imports src/cli/b.ts (cli)',
  ],
  [
    'src/kms/a.ts',
    'const home = process.env;\n',
    'src/kms/a.ts uses process.env: only src/cli touches the process and the terminal',
  ],
  [
    'src/kms/a.ts',
    "console.log('x');\n",
    'src/kms/a.ts uses console.log: only src/cli touches the process and the terminal',
  ],
  ['src/kms/a.ts', 'export default 1;\n', 'src/kms/a.ts has a default export or export *'],
  ['plugin/frame.c', '#include <mysql/plugin.h>\n', 'plugin/frame.c includes a header of the server'],
])('finds what breaks the rule in %s', (file, text, violation) => {
  expect(importRuleViolations(project({ 'src/x.ts': '', [file]: text }))).toEqual([violation]);
});
