import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { vi } from 'vitest';
import type { Scene } from '../../../../support/aws-stand-ins/scene.ts';
import { refusingProxy } from '../../../../support/fronts.ts';
import { cleanUp } from '../../../../support/scratch.ts';
import { type Failed, type FailureCases, failInChild, failWith } from './case.ts';

/** An address reserved for documentation; only a separate network namespace has a route to it. */
const NOWHERE = '198.51.100.1';

/** `ip route add TYPE` makes the system refuse with one error each. */
function route(type: string): (scene: Scene) => Promise<Failed> {
  const network = type === 'none' ? '' : `ip route add ${type} ${NOWHERE}/32;`;
  const code = { none: 'ENETUNREACH', unreachable: 'EHOSTUNREACH', prohibit: 'EACCES' }[type];
  return (scene) =>
    failInChild(scene, `connect ${code} ${NOWHERE}:80 .*`, 'call.ts', { network, argument: `http://${NOWHERE}` });
}

/**
 * Fails connect() with an error that Linux gives under a system call filter, or on a network device that this machine
 * lacks.
 */
function systemCallFails(code: string): (scene: Scene) => Promise<Failed> {
  return (scene) => {
    const spy = vi.spyOn(Socket.prototype, 'connect').mockImplementation(function (this: Socket) {
      return this.destroy(Object.assign(new Error(`connect ${code} 127.0.0.1:1`), { code, syscall: 'connect' }));
    });
    cleanUp(() => spy.mockRestore());
    return failWith(scene, `connect ${code} 127\\.0\\.0\\.1:1`, { endpointUrl: 'http://127.0.0.1:1' });
  };
}

/** Rows without a reproducible cause; their errors are made where Node calls the system. */
export const MADE_UP = ['EPERM', 'ENETDOWN'];

export const NETWORK: FailureCases = {
  ECONNREFUSED: async (scene) => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await new Promise((resolve) => server.close(resolve));
    return await failWith(scene, `connect ECONNREFUSED 127\\.0\\.0\\.1:${port}`, {
      endpointUrl: `http://127.0.0.1:${port}`,
    });
  },
  ECONNRESET: async (scene) => {
    scene.kms.faults.set([{ kind: 'drop' }]);
    return await failWith(scene, 'socket hang up', { endpointUrl: scene.kms.url });
  },
  ECONNABORTED: (scene) => failInChild(scene, 'read ECONNABORTED', 'aborted.ts', { network: '' }),
  EPIPE: async (scene) => {
    const endpointUrl = `http://127.0.0.1:${await resettingServer()}`;
    slowDown();
    return await failWith(scene, 'connect EPIPE .*', { endpointUrl });
  },
  /** KMS's names have several addresses; Node gives each but the last 250 ms. */
  ETIMEDOUT: async (scene) => {
    const hosts = scene.file('hosts', '198.51.100.1 kms.example.com\n198.51.100.2 kms.example.com\n');
    // Packets to an unused address on the loopback device get no answer.
    const network = `mount --bind ${hosts} /etc/hosts; ip route add 198.51.100.1/32 dev lo;`;
    return await failInChild(
      scene,
      'connect ETIMEDOUT 198\\.51\\.100\\.1:80; connect ENETUNREACH 198\\.51\\.100\\.2:80 .*',
      'call.ts',
      { network, argument: 'http://kms.example.com' },
    );
  },
  EHOSTUNREACH: route('unreachable'),
  ENETUNREACH: route('none'),
  EACCES: route('prohibit'),
  EPERM: systemCallFails('EPERM'),
  ENETDOWN: systemCallFails('ENETDOWN'),
  // A label of 64 characters is invalid in DNS, so no server is asked.
  ENOTFOUND: (scene) => {
    const host = `${'k'.repeat(64)}.example`;
    return failWith(scene, `getaddrinfo ENOTFOUND ${host}`, { endpointUrl: `http://${host}` });
  },
  EAI_AGAIN: (scene) =>
    failInChild(scene, 'getaddrinfo EAI_AGAIN kms\\.example\\.com', 'call.ts', {
      network: '',
      argument: 'http://kms.example.com',
    }),
  TimeoutError: (scene) => {
    scene.kms.faults.set([{ kind: 'hang' }]);
    return failWith(scene, 'no answer within 200 ms', {
      endpointUrl: scene.kms.url,
      requestTimeoutMs: 200,
    });
  },
  EMFILE: (scene) =>
    failInChild(scene, 'connect EMFILE 127\\.0\\.0\\.1:1 .*', 'descriptors.ts', { argument: 'http://127.0.0.1:1' }),
  ProxyAuthenticationRequired: async (scene) => {
    const { url } = await refusingProxy(407);
    return await failWith(
      scene,
      `Failed to establish tunnel to kms\\.example\\.com:443 via ${url}/?: HTTP/1\\.1 407 No`,
      { endpointUrl: 'https://kms.example.com', surroundings: { proxyEnvironment: { HTTPS_PROXY: url } } },
    );
  },
  ERR_PROXY_TUNNEL: async (scene) => {
    const { url } = await refusingProxy(502);
    return await failWith(
      scene,
      `Failed to establish tunnel to kms\\.example\\.com:443 via ${url}/?: HTTP/1\\.1 502 No`,
      { endpointUrl: 'https://kms.example.com', surroundings: { proxyEnvironment: { HTTPS_PROXY: url } } },
    );
  },
};

/** Accepts and then resets each connection while this thread sleeps (see `slowDown`). */
async function resettingServer(): Promise<number> {
  const worker = new Worker(
    `const server = require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
       socket.on('error', () => undefined);
       socket.end(() => setTimeout(() => socket.resetAndDestroy(), 10));
     });
     server.listen(0, '127.0.0.1', () => require('node:worker_threads').parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  cleanUp(async () => void (await worker.terminate()));
  const [port]: unknown[] = await once(worker, 'message');
  return Number(port);
}

/** Makes this thread sleep for 300 ms between polls of its sockets, as on an overloaded machine. */
function slowDown(): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  let over = false;
  const sleep = (): void => {
    Atomics.wait(cell, 0, 0, 300);
    if (!over) setImmediate(sleep);
  };
  setImmediate(sleep);
  cleanUp(() => {
    over = true;
  });
}
