import { writeFileSync } from 'node:fs';
import { readFile, realpath, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { nodeDataFiles } from '../../../src/data/data-files.ts';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { parseOptionLines, ServerOptions } from '../../../src/server/server-options.ts';
import { type SqlFlags, sqlTargetOf } from '../../../src/server/sql-target.ts';
import { SYSTEM_PATHS } from '../../../src/server/surroundings.ts';
import type { SqlTarget } from '../../../src/sql/server.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n';
const REQUEST = {
  defaults: '--defaults-file=/etc/my.cnf',
  groups: [],
  datadir: undefined,
  pluginDir: undefined,
  user: undefined,
  variables: {},
  stsEndpointUrl: '',
  deep: false,
};

/** @param client lines that my_print_defaults prints for the client's groups */
async function targetOf(
  flags: SqlFlags,
  { client = '', server = '', uid = 1000 }: { client?: string; server?: string; uid?: number } = {},
): Promise<SqlTarget> {
  const passwd = join(scratchDirectory(), 'passwd');
  writeFileSync(passwd, PASSWD);
  const asked: string[] = [];
  const outside = {
    run: async (program: string, args: readonly string[]) => {
      asked.push([program, ...args].join(' '));
      return { code: 0, stdout: client, stderr: '' };
    },
    files: { keyDirectory: nodeFileSystem, data: nodeDataFiles, stat, readFile, realpath, statfs },
    paths: { ...SYSTEM_PATHS, passwd },
    uid,
  };
  const options = new ServerOptions(parseOptionLines(server, []));
  const configuration = { request: REQUEST, unread: undefined, options, datadir: '/var/lib/mysql' };
  const target = await sqlTargetOf(flags, configuration, outside, new AbortController().signal);
  expect(asked).toEqual([
    'my_print_defaults --defaults-file=/etc/my.cnf client client-server client-mariadb mariadb-client',
  ]);
  return target;
}

const SECRET = '--password=from file';
const CLIENT = `--socket=/run/client.sock\n--user=app\n${SECRET}\n`;

it.each<[string, SqlFlags, string, string, SqlTarget['place'], string, string]>([
  ['the socket of the server', {}, '', '--socket=s.sock', { socket: '/var/lib/mysql/s.sock' }, 'ada', ''],
  ["the client's options", {}, CLIENT, '--socket=s.sock', { socket: '/run/client.sock' }, 'app', 'from file'],
  ['flags first', { socket: '/x', user: 'dba' }, CLIENT, '', { socket: '/x' }, 'dba', 'from file'],
  ['localhost as the socket', { host: 'localhost' }, CLIENT, '', { socket: '/run/client.sock' }, 'app', 'from file'],
  ['a host', { host: 'db.example' }, '--port=3307', '', { host: 'db.example', port: 3307 }, 'ada', ''],
  ['a port alone', { port: 3308 }, CLIENT, '', { host: '127.0.0.1', port: 3308 }, 'app', 'from file'],
  ['a host of the option file', {}, '--host=db\n--password', '', { host: 'db', port: 3306 }, 'ada', ''],
])('the connection takes %s', async (_, flags, client, server, place, user, password) => {
  expect(await targetOf(flags, { client, server })).toEqual({ place, user, password, certificates: undefined });
});

it('password and certificates come from files, whose errors name the option', async () => {
  const directory = scratchDirectory();
  const written = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const passwordFile = written('password', 's3cret \n');
  const empty = written('empty', '\n');
  expect(await targetOf({ host: 'db', passwordFile, sslCa: written('ca.pem', 'PEM') })).toMatchObject({
    password: 's3cret ',
    certificates: 'PEM',
  });
  await expectKeyError(targetOf({ passwordFile: empty }), 'BAD_OPTION', /^--password-file .*: the file is empty$/);
  await expectKeyError(targetOf({ passwordFile: '/none' }), 'BAD_OPTION', '--password-file /none: ENOENT');
  await expectKeyError(targetOf({ host: 'db', sslCa: '/none' }), 'BAD_OPTION', '--ssl-ca /none: ENOENT');
});

it('two ways at a time and a user without a name are refused', async () => {
  await expectKeyError(targetOf({ socket: '/x', host: 'db' }), 'BAD_OPTION', /^--socket and --host or --port: /);
  await expectKeyError(targetOf({}, { uid: 4711 }), 'BAD_OPTION', /^user 4711 has no name on this machine/);
});
