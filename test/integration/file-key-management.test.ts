/** The key file of file_key_management: commands read from it the keys that the server reads. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, type ScratchServer, serverPlugin } from '../../harness/scratch-server.ts';
import { newServer, run, sqlError } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

const PLUGIN = serverPlugin('file_key_management');
const KEY = '00112233445566778899aabbccddeeff';
const OTHER = 'f0e1d2c3b4a5968778695a4b3c2d1e0f';
/** Lines that the server accepts, some of them otherwise than they look, with the ids that they make. */
const ODD_LINES = [
  '# a comment',
  '',
  `1;${KEY}\r`,
  `010;${OTHER}`,
  `3;${KEY}`,
  `3;${OTHER}`,
  `4;${KEY}x${OTHER.slice(1)}`,
  `5;${KEY}${OTHER} and a remark`,
  `6;${KEY.toUpperCase()}${KEY.slice(0, 16)}`,
];
const ODD_IDS = [1, 10, 3, 4, 5, 6];

function start(options: Record<string, string>): ScratchServer {
  return newServer({ plugin_dir: dirname(PLUGIN), plugin_maturity: 'experimental', ...options });
}

async function fill(server: ScratchServer): Promise<void> {
  await server.sql('CREATE DATABASE d');
  for (const id of ODD_IDS) {
    await server.sql(`CREATE TABLE d.t${id} (i INT PRIMARY KEY) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
    await server.sql(`INSERT INTO d.t${id} SELECT seq FROM d.seq_1_to_1000`);
  }
}

it.each(['in clear', 'encrypted'])(
  'a key file %s gives the keys that the server reads from its odd lines',
  async (form) => {
    const directory = scratchDirectory();
    const path = (name: string): string => join(directory, name);
    const [clear, sealed, passphrase] = [path('keys'), path('keys.enc'), path('passphrase')];
    writeFileSync(clear, `${ODD_LINES.join('\n')}\n`);
    writeFileSync(passphrase, 'correct horse\r\n');
    if (form === 'encrypted') {
      // The command of OpenSSL would take the carriage return for a part of the passphrase.
      const options = [
        'enc',
        '-aes-256-cbc',
        '-md',
        'sha1',
        '-pass',
        'pass:correct horse',
        '-in',
        clear,
        '-out',
        sealed,
      ];
      execFileSync('openssl', options, { stdio: 'ignore' });
    }
    const file = form === 'encrypted' ? sealed : clear;
    const server = start({
      plugin_load_add: 'file_key_management',
      file_key_management_filename: file,
      ...(form === 'encrypted' ? { file_key_management_filekey: `FILE:${passphrase}` } : {}),
    });
    await server.start();
    await fill(server);
    await server.stop();
    const options = ['--key-file', file, ...(form === 'encrypted' ? ['--filekey', passphrase] : [])];
    const { stdout } = await run(COMMAND, [
      'verify-data',
      '--no-defaults',
      ...options,
      '--json',
      join(server.datadir, 'd'),
    ]);
    const answer: { ok: boolean; keyVersions: { keyId: number }[] } = JSON.parse(stdout);
    expect(answer.ok).toBe(true);
    expect(answer.keyVersions.map(({ keyId }) => keyId)).toEqual([...ODD_IDS].sort((a, b) => a - b));
  },
);

it('a key file that the server refuses is an error of the commands, too', async () => {
  const file = join(scratchDirectory(), 'keys');
  const server = start({ loose_file_key_management_filename: file });
  await server.start();
  const refused = {
    'a byte order mark': `\ufeff1;${KEY}\n`,
    'key 0': `1;${KEY}\n0;${OTHER}\n`,
    'no key 1': `2;${KEY}\n`,
    'half a byte': `1;${KEY}0\n`,
  };
  for (const [what, text] of Object.entries(refused)) {
    writeFileSync(file, text);
    expect(await sqlError(server, "INSTALL SONAME 'file_key_management'"), what).not.toBe('');
    const error: { code: number; stderr: string } = await run(COMMAND, [
      'verify-data',
      '--no-defaults',
      '--key-file',
      file,
      server.datadir,
    ]).catch((thrown) => thrown);
    expect([what, error.code, error.stderr]).toEqual([what, 1, expect.stringContaining('key file')]);
    expect(error.stderr).not.toContain(KEY);
  }
  writeFileSync(file, `1;${KEY}\n`);
  await server.sql("INSTALL SONAME 'file_key_management'");
});
