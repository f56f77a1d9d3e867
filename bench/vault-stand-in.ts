/** The part of Vault's KV v2 over HTTP that MariaDB's hashicorp_key_management uses: one version of each key. */
import { createServer, type ServerResponse } from 'node:http';

export interface VaultStandIn {
  /** The value for the plugin's `vault_url`. */
  readonly url: string;
  close(): Promise<void>;
}

export async function startVaultStandIn(keys: ReadonlyMap<number, Uint8Array>): Promise<VaultStandIn> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://stand-in');
    const id = /^\/v1\/mariadb\/data\/(\d+)$/.exec(pathname)?.[1];
    const key = id === undefined ? undefined : keys.get(Number(id));
    if (pathname === '/v1/sys/mounts/mariadb/tune') answer(response, 200, { options: { version: '2' } });
    else if (key !== undefined) {
      const data = Buffer.from(key).toString('hex');
      answer(response, 200, { data: { data: { data }, metadata: { version: 1 } } });
    } else answer(response, 404, { errors: [] });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP port after listen');
  return {
    url: `http://127.0.0.1:${address.port}/v1/mariadb/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
