/** docs/operations.md against a real server: its commands run in the order of the page. REWRITE_PAGE=1 rewrites it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, PATH, pluginOptions, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { newServer, run, startKms } from '../support/lab.ts';

const FILE = join(import.meta.dirname, '../../docs/operations.md');

it('the commands of the page print what the page says', { timeout: 120_000 }, async () => {
  const kms = await startKms();
  const options = pluginOptions(kms.url, { innodb_encrypt_tables: 'ON', innodb_encryption_threads: 2 });
  const server = newServer(options, { optionFile: '' });
  await server.start();
  await server.sql('CREATE DATABASE shop');
  await server.sql('CREATE TABLE shop.orders (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('INSERT INTO shop.orders SELECT seq FROM shop.seq_1_to_900');
  const page = readFileSync(FILE, 'utf8');
  const blocks = [...page.matchAll(/^```\n# mariadb-aws-kms (\S+)(.*)\n([\s\S]*?)^```$/gm)];
  expect(blocks.length).toBeGreaterThan(2);
  let printed = page;
  for (const [block, verb = '', rest = '', output = ''] of blocks) {
    const log = verb === 'rotate' ? `--audit-log="${server.directory}/audit.log"` : '';
    const script = `"${COMMAND}" ${verb} --defaults-file="${server.directory}/my.cnf" ${log} ${rest}`;
    const { stdout } = await run('sh', ['-c', script], { env: { ...TEST_CREDENTIALS, PATH } });
    const shown = stdout
      .replaceAll(server.datadir, '/var/lib/mysql')
      .replaceAll(server.socket, '/run/mysqld/mysqld.sock');
    if (process.env['REWRITE_PAGE'] === '1') {
      const at = printed.indexOf(block);
      printed = `${printed.slice(0, at)}${block.slice(0, block.length - output.length - 3)}${shown}\`\`\`${printed.slice(at + block.length)}`;
    } else expect(shown).toBe(output);
  }
  if (printed !== page) writeFileSync(FILE, printed);
});
