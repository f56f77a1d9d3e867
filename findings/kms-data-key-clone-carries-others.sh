#!/bin/sh
# @aws-sdk/client-kms 3.1164.0 on Node.js: a clone of one data key carries the other data keys with it.
#
# Expected:  The Plaintext of a Decrypt answer is a Uint8Array of 32 bytes of its own: a copy of it holds 32 bytes, and
#            whoever wipes it and lets go of it has no other key in hand.
# Happens:   The 32 bytes are a view of a pool of several KiB, which all answers share. structuredClone() of a view, as
#            postMessage() to a worker makes one, copies the whole pool: the clone of the second key holds the first one.
# Seen:      first and second key share one buffer: true; 32 bytes in a buffer of 8,192 with Node.js 20, 65,600 with 26;
#            the clone of the second key holds the first key: true
# Matters:   A program that hands one data key to a worker thread, or stores a clone, hands over every key that was
#            unwrapped shortly before, and wiping "its" key leaves the others where nobody looks for them. Copy the bytes first
#            (new Uint8Array(plaintext) has a buffer of its own).
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

let answers = 0;
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    answers += 1;
    const KeyId = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify({ KeyId, Plaintext: Buffer.alloc(32, answers).toString('base64') }));
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const client = new KMSClient({
  region: 'eu-central-1',
  endpoint: `http://127.0.0.1:${server.address().port}`,
  credentials: { accessKeyId: 'example', secretAccessKey: 'example' },
});
const unwrap = async () => (await client.send(new DecryptCommand({ CiphertextBlob: Buffer.from('wrapped') }))).Plaintext;
const first = await unwrap();
const second = await unwrap();
const clone = structuredClone(second);
console.log(`first and second key share one buffer: ${first.buffer === second.buffer}`);
console.log(`${second.byteLength} bytes in a larger buffer: ${second.buffer.byteLength > 32}`);
console.log(`the clone of the second key holds the first key: ${Buffer.from(clone.buffer).includes(first)}`);
client.destroy();
server.close();
JS
seen=$(node ask.mjs 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = 'first and second key share one buffer: true
32 bytes in a larger buffer: true
the clone of the second key holds the first key: true' ]
