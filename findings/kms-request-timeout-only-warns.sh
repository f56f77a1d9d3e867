#!/bin/sh
# @aws-sdk/client-kms 3.1164.0: requestTimeout gives no request up. It prints a warning and goes on waiting.
#
# Expected:  requestHandler: { requestTimeout: 500 } ends a request that has no answer after 500 ms with a TimeoutError, and
#            the client then retries or fails.
# Happens:   The client waits for as long as the service takes, and resolves. After 500 ms it writes one warning, which names
#            throwOnRequestTimeout: true. With that second option the request ends after 500 ms with a TimeoutError.
# Seen:      requestTimeout: 500:                              resolved with 32 bytes, not before 2,500 ms
#            requestTimeout: 500, throwOnRequestTimeout: true: TimeoutError, before the answer came (60 s)
# Matters:   A program that set a time limit has none. A service that takes connections and answers late holds every request,
#            and whoever waits for it, for its own time. Where nobody reads standard error nothing shows that.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @aws-sdk/client-kms@3.1164.0 >/dev/null 2>&1
cat >ask.mjs <<'JS'
import { createServer } from 'node:http';
import { once } from 'node:events';
import { DecryptCommand, KMSClient } from '@aws-sdk/client-kms';

const [answerAfterMs] = process.argv.slice(2).map(Number);
const requestHandler = { requestTimeout: 500, ...(process.argv[3] === 'throw' ? { throwOnRequestTimeout: true } : {}) };
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    setTimeout(() => {
      response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
      response.end(JSON.stringify({ Plaintext: Buffer.alloc(32).toString('base64') }));
    }, answerAfterMs);
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const client = new KMSClient({
  region: 'eu-central-1',
  endpoint: `http://127.0.0.1:${server.address().port}`,
  credentials: { accessKeyId: 'example', secretAccessKey: 'example' },
  maxAttempts: 1,
  requestHandler,
});
const ask = async () => {
  const { Plaintext } = await client.send(new DecryptCommand({ CiphertextBlob: Buffer.from('wrapped') }));
  return `resolved with ${Plaintext.byteLength} bytes`;
};
const began = performance.now();
const end = await ask().catch(({ name }) => name);
const when = performance.now() - began < answerAfterMs ? 'before' : 'not before';
console.log(`${end}, ${when} ${answerAfterMs} ms`);
client.destroy();
server.closeAllConnections();
server.close();
JS
# The second answer comes late enough for a busy machine.
alone=$(node ask.mjs 2500 2>/dev/null)
thrown=$(node ask.mjs 60000 throw 2>/dev/null)
printf 'requestTimeout: 500:                              %s\n' "$alone"
printf 'requestTimeout: 500, throwOnRequestTimeout: true: %s\n' "$thrown"
[ "$alone" = 'resolved with 32 bytes, not before 2500 ms' ]
[ "$thrown" = 'TimeoutError, before 60000 ms' ]
