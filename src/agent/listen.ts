import { lstat, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { Session, type SessionParts } from './session.ts';

/** `sun_path` holds 108 bytes with the NUL. */
const MAX_SOCKET_PATH_BYTES = 107;
/** A plugin uses one connection; a backup of its server another one. */
export const MOST_CONNECTIONS = 32;
/** Milliseconds. A plugin sends HELLO as soon as it is connected; other connections are closed after this. */
const HELLO_TIMEOUT_MS = 30_000;

/**
 * Serves every plugin that connects to a unix socket, until the signal is aborted. The mode of the socket's directory
 * decides who may connect: it must be 0700 or 0750.
 * @throws KeyError BAD_OPTION
 */
export async function listenForPlugins(
  path: string,
  parts: SessionParts,
  report: (line: string) => void,
  stop: AbortSignal,
): Promise<void> {
  await assertPrivateDirectory(dirname(path));
  await clearStaleSocket(path);
  const streams = new Set<Socket>();
  const sessions = new Set<Promise<void>>();
  let isToldOfDrop = false;
  const server = createServer((stream) => {
    streams.add(stream);
    const session = new Session(stream, { ...parts, helloTimeoutMs: HELLO_TIMEOUT_MS })
      .run()
      .catch((thrown: unknown) => report(`error: connection closed: ${toKeyError(thrown).message}`))
      .finally(() => {
        streams.delete(stream);
        sessions.delete(session);
        isToldOfDrop = false;
      });
    sessions.add(session);
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.on('drop', () => {
    if (!isToldOfDrop)
      report(`error: connection refused: ${MOST_CONNECTIONS} are open, which is the most there may be`);
    isToldOfDrop = true;
  });
  await listen(server, path);
  // One connection that cannot be accepted (no free descriptor) does not end the others.
  server.on('error', (error) => report(`error: ${toKeyError(error).message}`));
  report(`agent ${parts.agentVersion} listens on ${path}`);
  await aborted(stop);
  server.close();
  for (const stream of streams) stream.destroy();
  await Promise.all(sessions);
}

async function assertPrivateDirectory(directory: string): Promise<void> {
  const found = await stat(directory).catch((cause: unknown) => {
    throw new KeyError(
      'BAD_OPTION',
      `the socket's directory ${directory} cannot be used: ${toKeyError(cause).message}`,
      {
        hint: `install -d -m 0750 -o AGENT_USER -g SERVER_GROUP ${directory}`,
        cause,
      },
    );
  });
  if ((found.mode & 0o027) !== 0) {
    const mode = (found.mode & 0o777).toString(8).padStart(4, '0');
    throw new KeyError(
      'BAD_OPTION',
      `the socket's directory ${directory} has mode ${mode}: others could take the keys`,
      {
        hint: `chmod 0750 ${directory}, with the server's group as its group`,
      },
    );
  }
}

/** Removes a socket without a listener, left by a killed agent. Any other file is not ours to remove. */
async function clearStaleSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new KeyError(
      'BAD_OPTION',
      `--listen: a socket path has at most ${MAX_SOCKET_PATH_BYTES} bytes, got ${Buffer.byteLength(path)}`,
    );
  }
  const found = await lstat(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new KeyError('BAD_OPTION', `--listen: ${path} exists and is not a socket`, { hint: 'choose another path' });
  }
  if (await someoneListens(path)) {
    throw new KeyError('BAD_OPTION', `--listen: another agent listens on ${path}`, { hint: 'stop it first' });
  }
  await unlink(path);
}

async function someoneListens(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const probe = connect(path, () => resolve(true)).on('error', (error) => {
    if (systemErrorCode(error) === 'ECONNREFUSED') resolve(false);
    else reject(error);
  });
  return await promise.finally(() => probe.destroy());
}

async function listen(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.once('listening', () => server.off('error', reject));
  // The directory controls access; the socket itself is open, so that a server in the directory's group can connect.
  server.listen({ path, readableAll: true, writableAll: true }, resolve);
  await promise;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
}
