/** Prints the failure of a call whose connection the machine's administrator ends. */
import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { failureOf } from '../../../../../support/failing-call.ts';

const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.once('data', () => execFile('ss', ['-K', 'dport', '=', String(port)], () => undefined));
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = server.address();
const port = typeof address === 'object' && address !== null ? address.port : 0;
console.log(JSON.stringify(await failureOf({ endpointUrl: `http://127.0.0.1:${port}` })));
server.close();
