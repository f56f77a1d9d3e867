#!/bin/sh
# @aws-sdk/client-kms 3.1164.0: an answer whose Date is four minutes off makes the client repeat final refusals.
#
# Expected:  NotFoundException and AccessDeniedException are final. The client asks once, whatever the Date of the answer
#            says; a clock that is off is measured with the first answer and corrected for all later calls.
# Happens:   Where the Date header of the answer and this machine's clock differ by four minutes or more, every refusal of
#            every call is asked three times, also after the client has corrected its clock.
# Seen:      Date as it is:     NotFoundException: 1 1 1 requests; AccessDeniedException: 1 1 1 requests
#            Date 250 s ahead:  NotFoundException: 3 3 3 requests; AccessDeniedException: 3 3 3 requests
# Matters:   A start that unwraps thousands of data keys triples its calls, its time and its lines in CloudTrail exactly when
#            something is wrong already, and the rate that KMS allows is shared by the whole account.
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

const [seconds] = process.argv.slice(2).map(Number);
let requests = 0;
let refusal = '';
const server = createServer((request, response) => {
  requests += 1;
  request.resume().on('end', () => {
    const date = new Date(Date.now() + seconds * 1000).toUTCString();
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1', date });
    response.end(JSON.stringify({ __type: refusal, message: 'refused' }));
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const client = new KMSClient({
  region: 'eu-central-1',
  endpoint: `http://127.0.0.1:${server.address().port}`,
  credentials: { accessKeyId: 'example', secretAccessKey: 'example' },
});
const seen = [];
for (refusal of ['NotFoundException', 'AccessDeniedException']) {
  const each = [];
  for (let call = 0; call < 3; call += 1) {
    const before = requests;
    const error = await client.send(new DecryptCommand({ CiphertextBlob: Buffer.from('wrapped') })).catch((e) => e);
    if (error.name !== refusal) throw new Error(`another answer: ${error}`);
    each.push(requests - before);
  }
  seen.push(`${refusal}: ${each.join(' ')} requests`);
}
console.log(seen.join('; '));
client.destroy();
server.close();
JS
right=$(node ask.mjs 0 2>/dev/null)
ahead=$(node ask.mjs 250 2>/dev/null)
printf 'Date as it is:     %s\nDate 250 s ahead:  %s\n' "$right" "$ahead"
[ "$right" = 'NotFoundException: 1 1 1 requests; AccessDeniedException: 1 1 1 requests' ]
[ "$ahead" = 'NotFoundException: 3 3 3 requests; AccessDeniedException: 3 3 3 requests' ]
