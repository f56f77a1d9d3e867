#!/bin/sh
# @aws-sdk/client-kms 3.1164.0: an empty answer with status 200 is a successful Decrypt, without a plaintext.
#
# Expected:  Plaintext is what Decrypt is for. An answer that has none, or no body at all, is no answer of KMS, and the call
#            rejects, as it does when HTML comes back.
# Happens:   The call resolves. Plaintext and KeyId are undefined; nothing is logged and nothing is asked again.
# Seen:      status 200, no body:     resolved, Plaintext undefined, KeyId undefined
#            status 200, {"ok":true}: resolved, Plaintext undefined, KeyId undefined
#            status 200, HTML:        SyntaxError
# Matters:   A health page, a captive portal or a gateway in the way of KMS is met far from the call, as a type error, or as a
#            key that is stored as undefined. Look at length and KeyId before you use a data key.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @aws-sdk/client-kms@3.1164.0 >/dev/null 2>&1
cat >ask.mjs <<'JS'
import { once } from 'node:events';
import { createServer } from 'node:http';
import { DecryptCommand, KMSClient } from '@aws-sdk/client-kms';

let body = '';
const server = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200).end(body));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const client = new KMSClient({
  region: 'eu-central-1',
  endpoint: `http://127.0.0.1:${server.address().port}`,
  credentials: { accessKeyId: 'example', secretAccessKey: 'example' },
});
const ask = async () => {
  const { Plaintext, KeyId } = await client.send(new DecryptCommand({ CiphertextBlob: Buffer.from('wrapped') }));
  return `resolved, Plaintext ${Plaintext}, KeyId ${KeyId}`;
};
for (const [name, text] of [
  ['no body:    ', ''],
  ['{"ok":true}:', '{"ok":true}'],
  ['HTML:       ', '<html>Please log in</html>'],
]) {
  body = text;
  console.log(`status 200, ${name} ${await ask().catch((error) => error.name)}`);
}
client.destroy();
server.closeAllConnections();
server.close();
JS
seen=$(node ask.mjs 2>/dev/null)
printf '%s\n' "$seen"
[ "$seen" = 'status 200, no body:     resolved, Plaintext undefined, KeyId undefined
status 200, {"ok":true}: resolved, Plaintext undefined, KeyId undefined
status 200, HTML:        SyntaxError' ]
