#!/bin/sh
# @aws-sdk/client-kms 3.1164.0: a connection that is reset at once fails with an error whose name is TimeoutError.
#
# Expected:  A peer that resets the connection is reported as what it is: name Error, code ECONNRESET. TimeoutError is the
#            name of a request whose time is over.
# Happens:   The client renames the error: name TimeoutError, with code ECONNRESET, although nothing has waited for any time
#            and no time limit is set. A refused connection keeps its name.
# Seen:      reset:   TimeoutError, code ECONNRESET
#            refused: Error, code ECONNREFUSED
# Matters:   Logs and counters that go by the name send people to look for slowness and to raise time limits, where a
#            firewall, a proxy or a load balancer hangs up. Go by the code first, and by the name where there is none.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @aws-sdk/client-kms@3.1164.0 >/dev/null 2>&1
cat >ask.mjs <<'JS'
import { once } from 'node:events';
import { createServer } from 'node:net';
import { DecryptCommand, KMSClient } from '@aws-sdk/client-kms';

const server = createServer((socket) => socket.once('data', () => socket.resetAndDestroy()));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address();
const ask = async () => {
  const client = new KMSClient({
    region: 'eu-central-1',
    endpoint: `http://127.0.0.1:${port}`,
    credentials: { accessKeyId: 'example', secretAccessKey: 'example' },
    maxAttempts: 1,
  });
  const error = await client.send(new DecryptCommand({ CiphertextBlob: Buffer.from('wrapped') })).catch((e) => e);
  client.destroy();
  return `${error.name}, code ${error.code}`;
};
const reset = await ask();
await new Promise((resolve) => server.close(resolve));
console.log(`reset:   ${reset}\nrefused: ${await ask()}`);
JS
seen=$(node ask.mjs 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = 'reset:   TimeoutError, code ECONNRESET
refused: Error, code ECONNREFUSED' ]
