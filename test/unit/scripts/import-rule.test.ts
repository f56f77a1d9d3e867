import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { importRuleViolations, unusedPermissions } from '../../../scripts/import-rule.ts';

function project(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'mak-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const [file, text] of Object.entries({ 'plugin/keys/keytable.c': '#include <string.h>\n', ...files })) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return root;
}

it('the import rule accepts imports that point down', () => {
  const root = project({
    'src/errors.ts': 'export const x = 1;\n',
    'src/keyring/keyring.ts':
      "import { x } from '../errors.ts';\nimport type { Y } from '../format/frames.ts';\nexport { x, type Y };\n",
    'src/format/frames.ts': "import { x } from '../errors.ts';\nexport type Y = typeof x;\n",
    'src/cli/main.ts': 'console.log(process.argv, new Date(0));\n',
    'src/cli/system.ts': 'export const nowMs = Date.now;\n',
    'src/system-clock.ts': 'export const nowMs = Date.now;\n',
    'src/index.ts': "export { a } from './api/surroundings.ts';\n",
    'src/api/surroundings.ts': 'export const a = process.env;\n',
    'src/next-turn.ts': 'setImmediate(() => undefined);\n',
    'src/kms/aws/credentials/chain.ts': "import { kill } from 'node:process';\n",
    'plugin/server/server.c': '#include <mysql/plugin.h>\n',
  });
  expect(importRuleViolations(root)).toEqual([]);
});

it.each([
  [
    'src/format/a.ts',
    "import { x } from '../keyring/b.ts';\n",
    'src/format/a.ts (format) imports src/keyring/b.ts (keyring): it may not',
  ],
  ['src/errors.ts', "export { x } from './kms/b.ts';\n", 'src/errors.ts (leaf) imports src/kms/b.ts (kms): it may not'],
  [
    'src/kms/a.ts',
    "const y = await import('../agent/b.ts');\n",
    'src/kms/a.ts (kms) imports src/agent/b.ts (agent): it may not',
  ],
  [
    'src/agent/a.ts',
    'import {\n  x,\n  y,\n} from "../cli/b.ts";\n'.replaceAll('"', "'"),
    'src/agent/a.ts (agent) imports src/cli/b.ts (cli): it may not',
  ],
  [
    'src/kms/a.ts',
    'const home = process.env;\n',
    'src/kms/a.ts uses process.env: only src/cli touches the process and the terminal',
  ],
  [
    'src/api/surroundings.ts',
    'process.exit(1);\n',
    'src/api/surroundings.ts uses process.exit: only src/cli touches the process and the terminal',
  ],
  ['src/index.ts', "export { x } from './cli/b.ts';\n", 'src/index.ts (api) imports src/cli/b.ts (cli): it may not'],
  [
    'src/kms/a.ts',
    "console.log('x');\n",
    'src/kms/a.ts uses console.log: only src/cli touches the process and the terminal',
  ],
  ...[
    ['src/kms/a.ts', "import { kill } from 'node:process';\n", 'node:process'],
    ['src/kms/a.ts', "import process from 'process';\n", 'process'],
    ['src/kms/aws/credentials/chain.ts', "import { env } from 'node:process';\n", 'node:process'],
    ['src/system-clock.ts', "import { env } from 'node:process';\n", 'node:process'],
  ].map(([file = '', text = '', name = '']): [string, string, string] => [
    file,
    text,
    `${file} uses ${name}: only src/cli touches the process and the terminal`,
  ]),
  ['src/kms/a.ts', 'export default 1;\n', 'src/kms/a.ts has a default export or export *'],
  ...[
    ['Date.now', 'const a = Date.now();\n'],
    ['performance.now', 'const a = performance.now();\n'],
    ['Math.random', 'const random = Math.random;\n'],
    ['AbortSignal.timeout', 'const signal = AbortSignal.timeout(5);\n'],
    ['setTimeout', 'setTimeout(() => undefined, 5);\n'],
    ['setInterval', 'setInterval(() => undefined, 5);\n'],
    ['setImmediate', 'setImmediate(() => undefined);\n'],
    ['node:timers', "import { scheduler } from 'node:timers/promises';\n"],
    ['new Date()', 'const a = new Date();\n'],
  ].map(([name = '', text = '']): [string, string, string] => [
    'src/cli/a.ts',
    text,
    `src/cli/a.ts uses ${name}: pass a clock in (cli/system.ts, system-clock.ts, next-turn.ts make it)`,
  ]),
  [
    'src/kms/a.ts',
    'const a = process.hrtime();\n',
    'src/kms/a.ts uses process.hrtime: only src/cli touches the process and the terminal',
  ],
  ['src/shed/a.ts', '', 'src/shed/a.ts: the import rule does not know the folder shed'],
  [
    'plugin/keys/a.c',
    '#include "client/frame.h"\n',
    'plugin/keys/a.c (keys) imports plugin/client/frame.h (client): it may not',
  ],
  [
    'plugin/client/frame.c',
    '#include <mysql/plugin.h>\n',
    'plugin/client/frame.c includes a header of the server: only plugin/server may',
  ],
])('the import rule finds the violation in %s', (file, text, violation) => {
  expect(importRuleViolations(project({ 'src/x.ts': '', [file]: text }))).toEqual([violation]);
});

it('the import rule finds circles, for which a header and its source are one file', () => {
  const root = project({
    'src/a.ts': "import type { B } from './b.ts';\n",
    'src/b.ts': "import { c } from './c.ts';\n",
    'src/c.ts': "import { a } from './a.ts';\n",
    'plugin/base/a.h': '#include "base/b.h"\n',
    'plugin/base/b.c': '#include "base/a.h"\n',
  });
  expect(importRuleViolations(root)).toEqual([
    'src: a circle of imports: a.ts → b.ts → c.ts → a.ts',
    'plugin: a circle of imports: base/a.c → base/b.c → base/a.c',
  ]);
});

it('permits no import that the project does not need', () => {
  expect(unusedPermissions(join(import.meta.dirname, '../../..'))).toEqual([]);
});

it('tells the rooms of one folder apart', () => {
  const root = project({
    'src/kms/failures/a.ts': "import { b } from '../aws/http/b.ts';\n",
    'src/kms/aws/http/b.ts': "import { c } from '../../c.ts';\n",
    'src/kms/c.ts': "import { a } from './failures/a.ts';\n",
  });
  expect(importRuleViolations(root)).toContainEqual(
    'src/kms/failures/a.ts (kms/failures) imports src/kms/aws/http/b.ts (kms/aws): it may not',
  );
});
