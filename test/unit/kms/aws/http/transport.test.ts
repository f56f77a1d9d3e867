import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../../src/cli/system.ts';
import { AnswerReader } from '../../../../../src/kms/aws/http/answer-reader.ts';
import { transportTo } from '../../../../../src/kms/aws/http/connect.ts';
import { type HttpAnswer, MOST_ANSWER_BYTES, type Transport } from '../../../../../src/kms/aws/http/transport.ts';
import { nextTurn } from '../../../../../src/next-turn.ts';
import { CertificateAuthority } from '../../../../support/certificates.ts';
import { listening } from '../../../../support/fronts.ts';
import { cleanUp, until } from '../../../../support/scratch.ts';

function read(bytes: Buffer, cuts: readonly number[] = []): { answer: HttpAnswer | undefined; reader: AnswerReader } {
  const reader = new AnswerReader();
  const edges = [0, ...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length];
  let isWhole = false;
  for (const [index, from] of edges.slice(0, -1).entries()) {
    if (isWhole) break;
    const piece = Buffer.from(bytes.subarray(from, edges[index + 1]));
    isWhole = reader.feed(piece);
    // The connection wipes the piece, so the reader must not need it any more.
    piece.fill(0);
  }
  return { answer: isWhole ? reader.take() : undefined, reader };
}

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/);
const value = fc.stringMatching(/^[!-~](?:[ -~]{0,40}[!-~])?$/);
const FRAMING = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'trailer', 'upgrade']);
const headers = fc
  .uniqueArray(fc.tuple(token, value), { selector: ([name]) => name.toLowerCase(), maxLength: 8 })
  .map((pairs) => pairs.filter(([name]) => !FRAMING.has(name.toLowerCase())));
const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const cuts = fc.array(fc.nat(2000), { maxLength: 6 });

function head(status: number, pairs: readonly (readonly [string, string])[]): string {
  return `HTTP/1.1 ${status} Whatever\r\n${pairs.map(([name, text]) => `${name}: ${text}\r\n`).join('')}\r\n`;
}

function chunked(bytes: Buffer, size: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.subarray(at, at + size);
    pieces.push(Buffer.from(`${chunk.length.toString(16)};extension=1\r\n`), chunk, Buffer.from('\r\n'));
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\ntrailer: x\r\n\r\n')]);
}

describe('an answer', () => {
  it('is the same however it is cut into pieces', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 599 }).filter((status) => status !== 204 && status !== 304),
        headers,
        body,
        fc.constantFrom('sized', 'chunked') as fc.Arbitrary<'sized' | 'chunked'>,
        fc.integer({ min: 1, max: 64 }),
        fc.boolean(),
        cuts,
        (status, pairs, bytes, framing, chunkSize, isAnnounced, at) => {
          const length: [string, string] =
            framing === 'sized' ? ['Content-Length', String(bytes.length)] : ['Transfer-Encoding', 'Chunked'];
          const sent = Buffer.concat([
            Buffer.from(isAnnounced ? head(100, []) : ''),
            Buffer.from(head(status, [...pairs, length])),
            framing === 'sized' ? bytes : chunked(bytes, chunkSize),
          ]);
          const { answer, reader } = read(sent, at);
          expect(answer?.status).toBe(status);
          expect(answer?.body.equals(bytes)).toBe(true);
          for (const [name, text] of pairs) expect(answer?.headers[name.toLowerCase()]).toBe(text);
          expect(reader.keepsConnection).toBe(true);
        },
      ),
    );
  });

  it('that is incomplete is waited for', () => {
    const sent = Buffer.from(`${head(200, [['content-length', '5']])}12345`);
    for (let length = 0; length < sent.length; length += 1)
      expect(new AnswerReader().feed(sent.subarray(0, length))).toBe(false);
    expect(read(sent).answer?.body.toString()).toBe('12345');
  });

  it('without a length ends with the connection, and no other does', () => {
    const reader = new AnswerReader();
    expect(reader.feed(Buffer.from(`${head(200, [])}half`))).toBe(false);
    expect(reader.feed(Buffer.from(' and half'))).toBe(false);
    expect(reader.end()).toBe(true);
    expect(reader.take().body.toString()).toBe('half and half');
    expect(reader.keepsConnection).toBe(false);
    for (const sent of [
      '',
      'HTTP/1.1 20',
      head(200, [['content-length', '5']]),
      head(200, [['transfer-encoding', 'chunked']]),
    ]) {
      const other = new AnswerReader();
      other.feed(Buffer.from(sent));
      expect(other.end()).toBe(false);
    }
  });

  it.each([
    ['an older version', 'HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx'],
    [
      'Connection: close',
      `${head(200, [
        ['connection', 'Keep-Alive, Close'],
        ['content-length', '1'],
      ])}x`,
    ],
    ['more than it says', `${head(200, [['content-length', '1']])}xy`],
  ])('leaves no connection behind with %s', (_, sent) => {
    const { answer, reader } = read(Buffer.from(sent));
    expect(answer?.body.toString()).toBe('x');
    expect(reader.keepsConnection).toBe(false);
  });

  it.each([
    [204, []],
    [304, [['content-length', '7']]],
  ] as const)('with status %s has no body, and later bytes are no answer', (status, pairs) => {
    const { answer, reader } = read(Buffer.from(head(status, pairs)));
    expect(answer?.body.length).toBe(0);
    expect(reader.keepsConnection).toBe(false);
  });

  it('is without the blanks around its values, however many', () => {
    const blanks = ' \t'.repeat(2000);
    const { answer } = read(
      Buffer.from(
        head(200, [
          ['a', `${blanks}x${blanks}y${blanks}`],
          ['content-length', '0'],
        ]),
      ),
    );
    expect(answer?.headers['a']).toBe(`x${blanks}y`);
  });

  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a TLS alert', '\x15\x03\x01\x00\x02\x02\x50'],
    ['HTTP/2', 'HTTP/2 200\r\n\r\n'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['bare line feeds', 'HTTP/1.1 200 OK\ncontent-length: 0\n\n\r\n\r\n'],
    ['a folded header', head(200, [['a', 'b\r\n c']])],
    ['a header without a name', head(200, [['', 'b']])],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n'],
    ['a control character', head(200, [['a', 'b\x00c']])],
    [
      'two lengths',
      head(200, [
        ['content-length', '1'],
        ['transfer-encoding', 'chunked'],
      ]),
    ],
    [
      'two Content-Lengths',
      head(200, [
        ['content-length', '1'],
        ['content-length', '2'],
      ]),
    ],
    ['a negative length', head(200, [['content-length', '-1']])],
    ['a length in hex', head(200, [['content-length', '0x10']])],
    ['a huge length', head(200, [['content-length', '9'.repeat(20)]])],
    ['an unknown coding', head(200, [['transfer-encoding', 'gzip, chunked']])],
    ['a chunk without a size', `${head(200, [['transfer-encoding', 'chunked']])}\r\n`],
    ['a chunk of a huge size', `${head(200, [['transfer-encoding', 'chunked']])}fffffffff\r\n`],
    ['a chunk that goes on', `${head(200, [['transfer-encoding', 'chunked']])}1\r\nxy\r\n`],
    ['an endless chunk size', `${head(200, [['transfer-encoding', 'chunked']])}1;${'x'.repeat(2000)}`],
    ['an endless head', `HTTP/1.1 200 OK\r\na: ${'x'.repeat(20_000)}`],
    ['a trailer that is none', `${head(200, [['transfer-encoding', 'chunked']])}0\r\n\x00HTTP/1.1 200 OK\r\n\r\n`],
    ['endless trailers', `${head(200, [['transfer-encoding', 'chunked']])}0\r\n${'a: b\r\n'.repeat(17)}`],
    ['endless announcements', head(103, []).repeat(17)],
    ['too many pieces', `${head(200, [['transfer-encoding', 'chunked']])}${'1\r\nx\r\n'.repeat(4097)}`],
    ['a line of blanks that ends badly', `HTTP/1.1 200 OK\r\na:${' '.repeat(16_000)}\x00\r\n\r\n`],
    ['a change of protocol', head(101, [['upgrade', 'websocket']])],
  ])('with %s is refused', (_, sent) => {
    for (const at of [[], [3], [20, 21], [sent.length - 1]]) {
      expect(() => read(Buffer.from(sent, 'latin1'), at)).toThrow(
        expect.objectContaining({ name: 'UnreadableAnswer', message: expect.stringContaining('is not HTTP/1.1: ') }),
      );
    }
  });

  it('of any bytes is refused, waited for, or read, and never too long', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          'HTTP/1.1 200 OK\r\n',
          '\r\n',
          'content-length: 4\r\n',
          'transfer-encoding: chunked\r\n',
          '4\r\n',
          '0\r\n',
        )
        .map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), cuts, (pieces, at) => {
        const sent = Buffer.concat(pieces);
        if (sent.length === 0) return;
        try {
          expect(read(sent, at).answer?.body.length ?? 0).toBeLessThanOrEqual(sent.length);
        } catch (error) {
          expect(error).toMatchObject({ name: 'UnreadableAnswer' });
        }
      }),
      { numRuns: 2000 },
    );
    const endless = new AnswerReader();
    endless.feed(Buffer.from(head(200, [])));
    let sent = 0;
    while (!endless.feed(Buffer.alloc(65_536))) sent += 65_536;
    expect(sent).toBeLessThanOrEqual(MOST_ANSWER_BYTES);
  });
});

/** A server that answers each request on a connection with the next of the texts, and records the requests. */
async function scripted(answers: readonly string[], onSocket: (socket: Socket) => void = () => undefined) {
  const asked: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    onSocket(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      asked.push(bytes.toString());
      socket.write(answers[asked.length - 1] ?? '');
    });
  });
  cleanUp(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { asked, sockets, port: await listening(server) };
}

async function direct(url: string): Promise<Transport> {
  const transport = await transportTo(new URL(url), {
    proxyEnvironment: {},
    trustedCertificates: undefined,
    clock: systemClock,
  });
  cleanUp(() => transport.close());
  return transport;
}

async function post(transport: Transport, text = '{}', giveUpAfterMs?: number): Promise<string> {
  return await new Promise((resolve, reject) => {
    const giveUp = transport.post({ headers: { host: 'h' }, body: text, connectTimeoutMs: 60_000 }, (outcome) => {
      if ('answer' in outcome) resolve(outcome.answer.body.toString());
      else reject(outcome.error);
    });
    if (giveUpAfterMs !== undefined) setTimeout(() => giveUp(new Error('given up')), giveUpAfterMs);
  });
}

const sized = (text: string, ...pairs: [string, string][]): string =>
  `${head(200, [...pairs, ['content-length', String(text.length)]])}${text}`;

describe('connections', () => {
  it('are kept open, and send the request', async () => {
    const { asked, sockets, port } = await scripted([sized('one'), sized('two')]);
    const transport = await direct(`http://127.0.0.1:${port}/a/path/`);
    expect(await post(transport, '{"ä":1}')).toBe('one');
    expect(await post(transport)).toBe('two');
    expect(sockets).toHaveLength(1);
    expect(asked[0]).toBe('POST /a/path/ HTTP/1.1\r\nhost: h\r\ncontent-length: 8\r\n\r\n{"ä":1}');
  });

  it('are as many as there are concurrent requests', async () => {
    const { sockets, port } = await scripted([sized('1'), sized('2'), sized('3'), sized('4'), sized('5')]);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    const answers = await Promise.all([post(transport), post(transport), post(transport)]);
    expect(answers.sort()).toEqual(['1', '2', '3']);
    expect(sockets).toHaveLength(3);
    await Promise.all([post(transport), post(transport)]);
    expect(sockets).toHaveLength(3);
  });

  it.each([
    ['the server closes', sized('1', ['connection', 'close'])],
    ['the server will close at once', sized('1', ['keep-alive', 'timeout=1'])],
    ['the answer is longer than it says', `${sized('1')}2`],
  ])('are abandoned when %s', async (_, first) => {
    const { sockets, port } = await scripted([first, sized('2')]);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    expect(await post(transport)).toBe('1');
    expect(await post(transport)).toBe('2');
    expect(sockets).toHaveLength(2);
  });

  it('that ended while idle are not used again', async () => {
    const { sockets, port } = await scripted([sized('1'), sized('2'), sized('3')]);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    expect(await post(transport)).toBe('1');
    sockets[0]?.end();
    await until('the end is seen', () => sockets[0]?.destroyed === true);
    expect(await post(transport)).toBe('2');
    // Bytes that no request asked for are not taken for the next answer.
    sockets[1]?.write(sized('forged'));
    await until('the connection is left', () => sockets[1]?.destroyed === true);
    expect(await post(transport)).toBe('3');
  });

  it('with an aborted request are not used again', async () => {
    const { asked, sockets, port } = await scripted(['', sized('2')]);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    const request = { headers: { host: 'h' }, body: '{}', connectTimeoutMs: 60_000 };
    const failed = Promise.withResolvers<unknown>();
    const giveUp = transport.post(request, failed.resolve);
    await until('the request has come', () => asked.length === 1);
    giveUp(new Error('given up'));
    expect(await failed.promise).toMatchObject({ error: { message: 'given up' } });
    await until('the connection is left', () => sockets[0]?.destroyed === true);
    expect(await post(transport)).toBe('2');
  });

  it('serve the next request after one that is aborted too late', async () => {
    const { port } = await scripted([sized('1'), sized('2')]);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    const request = { headers: { host: 'h' }, body: '{}', connectTimeoutMs: 60_000 };
    let giveUp: (error: unknown) => void = () => undefined;
    await new Promise<void>((resolve) => {
      giveUp = transport.post(request, () => resolve());
    });
    const second = post(transport);
    giveUp(new Error('too late'));
    expect(await second).toBe('2');
  });

  it('report a TLS handshake that is cut off', async () => {
    const { port } = await scripted([], (socket) => socket.end());
    const transport = await direct(`https://localhost:${port}/`);
    await expect(post(transport)).rejects.toMatchObject({
      code: 'ECONNRESET',
      message: 'Client network socket disconnected before secure TLS connection was established',
    });
  });

  it('that were opened ahead carry the first requests', async () => {
    const { asked, sockets, port } = await scripted([sized('1'), sized('2')]);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    transport.prepare?.(60_000);
    await until('the connection is open', () => sockets.length === 1);
    expect(asked).toEqual([]);
    expect(await post(transport)).toBe('1');
    expect(await post(transport)).toBe('2');
    expect(sockets).toHaveLength(1);
  });

  it('that were opened ahead and closed by the server carry none', async () => {
    const { sockets, port } = await scripted([sized('1')], (socket) => {
      if (sockets.length === 1) socket.destroy();
    });
    const transport = await direct(`http://127.0.0.1:${port}/`);
    transport.prepare?.(60_000);
    await until('the connection is closed', () => sockets[0]?.closed === true);
    // The end reaches the client in a later turn of the event loop.
    await nextTurn();
    expect(await post(transport)).toBe('1');
    expect(sockets).toHaveLength(2);
  });

  it('do not resume a session that got no answer', async () => {
    const identity = new CertificateAuthority().issue({ hosts: 'DNS:localhost' });
    const server = createTlsServer({ cert: identity.certificate, key: identity.key }, (socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write(sized('x', ['connection', 'close'])));
    });
    const target = await listening(server);
    let connections = 0;
    const swallowing = createServer((client) => {
      connections += 1;
      client.on('error', () => undefined);
      if (connections === 2) return;
      const to = connect(target, '127.0.0.1');
      to.on('error', () => client.destroy());
      client.pipe(to).pipe(client);
    });
    const transport = await transportTo(new URL(`https://localhost:${await listening(swallowing)}/`), {
      proxyEnvironment: {},
      trustedCertificates: [identity.certificate],
      clock: systemClock,
    });
    cleanUp(() => transport.close());
    const resumed: boolean[] = [];
    server.on('secureConnection', (socket) => resumed.push(socket.isSessionReused()));
    expect(await post(transport)).toBe('x');
    await expect(post(transport, '{}', 200)).rejects.toThrow('given up');
    expect(await post(transport)).toBe('x');
    expect(resumed).toEqual([false, false]);
  });

  it('end with the transport, and so do their requests', async () => {
    const { sockets, port } = await scripted([sized('1'), '']);
    const transport = await direct(`http://127.0.0.1:${port}/`);
    expect(await post(transport)).toBe('1');
    const call = post(transport);
    transport.close();
    await expect(call).rejects.toMatchObject({ code: 'ECONNRESET', message: 'socket hang up' });
    await until('the connection is left', () => sockets[0]?.destroyed === true);
  });

  it('carry no header that would end early', async () => {
    const transport = await direct('http://127.0.0.1:9/');
    const request = { headers: { 'x-amz-security-token': 'a\r\nb: c' }, body: '', connectTimeoutMs: 100 };
    expect(() => transport.post(request, () => undefined)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_CHAR',
        message: 'Invalid character in header content ["x-amz-security-token"]',
      }),
    );
  });

  it("understand what Node's server sends", async () => {
    const server = createHttpServer((request, answer) => {
      request.resume();
      request.on('end', () => {
        answer.write('in ');
        answer.end('chunks');
      });
    });
    const transport = await direct(`http://127.0.0.1:${await listening(server)}/`);
    for (let call = 0; call < 3; call += 1) expect(await post(transport)).toBe('in chunks');
  });

  it('resume TLS sessions, each of them once', async () => {
    const identity = new CertificateAuthority().issue({ hosts: 'DNS:localhost' });
    const reused: boolean[] = [];
    const server = createTlsServer({ cert: identity.certificate, key: identity.key }, (socket) => {
      reused.push(socket.isSessionReused());
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write(sized('x', ['connection', 'close'])));
    });
    const port = await listening(server);
    const transport = await transportTo(new URL(`https://localhost:${port}/`), {
      proxyEnvironment: {},
      trustedCertificates: [identity.certificate],
      clock: systemClock,
    });
    cleanUp(() => transport.close());
    expect(await post(transport)).toBe('x');
    // Node's server gives two sessions with each full handshake.
    expect(await Promise.all([post(transport), post(transport), post(transport)])).toEqual(['x', 'x', 'x']);
    expect(reused.toSorted()).toEqual([false, false, true, true]);
  });
});
