/** Data beside the key files of another server: the same key ids and versions, other keys. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EVERYTHING_ENCRYPTED, type ScratchServer } from '../../harness/scratch-server.ts';
import { ENCRYPTION_ALGORITHMS } from '../../src/format/encryption-algorithm.ts';
import { keyFiles, operations, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const ROWS = 'SELECT COUNT(*) AS n, SUM(i) AS sum FROM d.t';

/** Aria starts before the plugin, and writes its own log. */
function checksums(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('aria_log'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`)
    .sort();
}

async function untilEncrypted(server: ScratchServer): Promise<void> {
  await until('the system tablespace is encrypted', async () => {
    const [row] = await server.sql(
      "SELECT MIN_KEY_VERSION AS version FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME='innodb_system'",
    );
    return row?.['version'] === 1;
  });
}

it.each(ENCRYPTION_ALGORITHMS)(
  'key files of another server are refused, the right ones open again (%s)',
  async (algorithm) => {
    const kms = await startKms();
    const [own, others] = [scratchDirectory(), scratchDirectory()];
    const options = { ...EVERYTHING_ENCRYPTED, aws_key_management_encryption_algorithm: algorithm };
    const server = await startServer(kms, { ...options, aws_key_management_keyfile_dir: own });
    await server.sql('CREATE DATABASE d');
    await server.sql('CREATE TABLE d.t ENGINE=InnoDB SELECT seq AS i FROM d.seq_1_to_1000');
    await untilEncrypted(server);
    await server.stop();
    const other = await startServer(kms, { ...options, aws_key_management_keyfile_dir: others });
    await other.stop();
    expect(keyFiles(others)).toEqual(keyFiles(own));

    const before = [server.datadir, own, others].flatMap(checksums);
    const ownOptions = server.options;
    server.options = { ...ownOptions, aws_key_management_keyfile_dir: others };
    kms.calls.clear();
    await expect(server.start()).rejects.toThrow('Failed to initialize plugins');
    const log = server.log.slice(server.log.lastIndexOf('Starting MariaDB'));
    expect(log).toContain(
      `AWS KMS plugin: key 1 version 1 is among the key files in ${others}, but ibdata1 in the data directory is encrypted with another key of this number; nothing was changed; move the files aws-kms-key.* away from there and keep them`,
    );
    expect(new Set(operations(kms))).toEqual(new Set(['Decrypt']));
    expect([server.datadir, own, others].flatMap(checksums)).toEqual(before);

    server.options = ownOptions;
    await server.start();
    expect(await server.sql(ROWS)).toEqual([{ n: 1000, sum: '500500' }]);

    await server.stop();
    server.options = {
      ...ownOptions,
      aws_key_management_keyfile_dir: others,
      aws_key_management_allow_missing_keys: 'ON',
    };
    await expect(server.start()).rejects.toThrow(
      /\[Warning\] .*encrypted with another key of this number;.*starting all the same.*InnoDB: /s,
    );
  },
);
