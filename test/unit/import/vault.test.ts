/** The server of these tests is written from the description of MariaDB's plugin: no Vault was compared. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeEach, expect, it } from 'vitest';
import { httpGet } from '../../../src/cli/import/http-get.ts';
import { systemClock } from '../../../src/cli/system.ts';
import { keyId } from '../../../src/ids.ts';
import { parseVaultUrl, readVault, type VaultRequest } from '../../../src/import/vault.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { cleanUp } from '../../support/scratch.ts';

const HEX = '00112233445566778899aabbccddeeff';
const TOKEN = 'hvs.a-token-of-a-test';
/** Key ids with the keys of their versions; undefined: destroyed. */
const STORE: Readonly<Record<string, readonly (string | undefined)[]>> = {
  1: [HEX, undefined, HEX.toUpperCase() + HEX],
  20: [`${HEX}${HEX.slice(0, 16)}`],
};

let url: string;
let paths: string[];
let answer: (request: IncomingMessage, response: ServerResponse) => boolean;

beforeEach(async () => {
  paths = [];
  answer = () => false;
  const server = createServer((request, response) => {
    paths.push(request.url ?? '');
    if (answer(request, response)) return;
    const [status, body] = request.headers['x-vault-token'] === TOKEN ? answerOf(request.url ?? '') : DENIED;
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp(() => void server.close());
  const { port }: AddressInfo = Object(server.address());
  url = `http://127.0.0.1:${port}/v1/team/mariadb/`;
});

const DENIED = [403, { errors: ['permission denied'] }] as const;
const MISSING = [404, { errors: [] }] as const;

function answerOf(path: string): readonly [number, unknown] {
  const [, rest = ''] = /^\/v1\/team\/mariadb\/(.*)$/.exec(path) ?? [];
  if (rest === 'metadata?list=true') return [200, { data: { keys: [...Object.keys(STORE), 'notes', 'folder/'] } }];
  const [, kind, id = '', version] = /^(data|metadata)\/(\d+)(?:\?version=(\d+))?$/.exec(rest) ?? [];
  const versions = STORE[id];
  if (versions === undefined) return MISSING;
  if (kind === 'metadata') {
    const facts = versions.map((hex, index) => [
      String(index + 1),
      { created_time: '2030-01-01T00:00:00Z', deletion_time: '', destroyed: hex === undefined },
    ]);
    return [200, { data: { current_version: versions.length, versions: Object.fromEntries(facts) } }];
  }
  const number = version === undefined ? versions.length : Number(version);
  const hex = versions[number - 1];
  return hex === undefined ? MISSING : [200, { data: { data: { data: hex }, metadata: { version: number } } }];
}

async function read(changes: Partial<VaultRequest> = {}) {
  const place = parseVaultUrl(url);
  const request = { place, token: TOKEN, namespace: '', ids: undefined, allVersions: false, ...changes };
  const keys = await readVault(request, httpGet(request.place.origin, undefined, systemClock));
  return keys.map(({ id, version, bytes }) => [`${id}.${version}`, bytes.toString('hex')]);
}

it('the latest version of each key that Vault lists is read', async () => {
  expect(await read()).toEqual([
    ['1.3', HEX + HEX],
    ['20.1', HEX + HEX.slice(0, 16)],
  ]);
});

it('all versions are read but those that Vault destroyed', async () => {
  const keys = await read({ allVersions: true, ids: [keyId(1)] });
  expect(keys.map(([name]) => name)).toEqual(['1.1', '1.3']);
  expect(paths).not.toContain('/v1/team/mariadb/metadata?list=true');
});

it('a token that is denied, a key that is not there and a server that is none are named, and no token is repeated', async () => {
  const denied = await expectKeyError(
    read({ token: 'another' }),
    'SOURCE_UNAVAILABLE',
    /denies the list of its keys \(HTTP 403\)$/,
  );
  await expectKeyError(read({ ids: [keyId(7)] }), 'KEY_UNKNOWN', /^key 7 is not in http:\/\/127/);
  const place = { origin: 'http://127.0.0.1:1', mount: 'mariadb' };
  const gone = await expectKeyError(read({ place }), 'SOURCE_UNAVAILABLE', /ECONNREFUSED/);
  for (const { message, hint } of [denied, gone]) expect(message + hint).not.toMatch(/another|hvs/);
});

it.each([
  [
    'another version than was asked for',
    { data: { data: { data: HEX }, metadata: { version: 2 } } },
    'it is version 2',
  ],
  [
    'half a byte',
    { data: { data: { data: `${HEX}a` }, metadata: { version: 1 } } },
    '"data.data.data" is not 32, 48 or 64 hexadecimal digits',
  ],
  [
    'a version that is a text',
    { data: { data: { data: HEX }, metadata: { version: '1' } } },
    '"metadata.version" is no version',
  ],
])('an answer with %s is refused without the key in the message', async (_, body, reason) => {
  answer = ({ url: path = '' }, response) => {
    if (!path.endsWith('?version=1')) return false;
    response.writeHead(200).end(JSON.stringify(body));
    return true;
  };
  const error = await expectKeyError(read({ allVersions: true }), 'KEY_FILE_CORRUPT', /^key 1 version 1 of http:/);
  expect(error.message).toContain(reason);
  expect(error.message).not.toContain(HEX);
});

it('a redirect is not followed, and an endless answer ends', async () => {
  answer = (_, response) => {
    response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end();
    return true;
  };
  await expectKeyError(read(), 'SOURCE_UNAVAILABLE', /HTTP 307 for the list of its keys$/);
  answer = (_, response) => {
    response.writeHead(200).end(Buffer.alloc(200_000, 32));
    return true;
  };
  await expectKeyError(read(), 'SOURCE_UNAVAILABLE', /the answer has more than 131072 bytes$/);
});

it.each(['http://h/v1/', 'https://h/v2/x', 'file:///v1/x', 'https://user:pass@h/v1/x', 'https://h/v1/x?token=y'])(
  'the address %s is refused',
  async (text) => {
    await expectKeyError(() => parseVaultUrl(text), 'BAD_OPTION', '--url: expected https://HOST:PORT/v1/MOUNT');
  },
);
