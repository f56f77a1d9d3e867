/** Prints how a call to the endpoint of the first argument fails once no file descriptor is left. */
import { openSync } from 'node:fs';
import { failureOf } from '../../../../../support/failing-call.ts';

const endpointUrl = process.argv[2] ?? '';
// Loads what Node and the SDK load on the first call only.
await failureOf({ endpointUrl });
try {
  for (;;) openSync('/dev/null', 'r');
} catch {
  // The last one is gone.
}
console.log(JSON.stringify(await failureOf({ endpointUrl })));
