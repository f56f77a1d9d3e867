/** Prints the failure of a call to the endpoint of the first argument when no file descriptor is free. */
import { openSync } from 'node:fs';
import { failureOf } from '../../../../../support/failing-call.ts';

const endpointUrl = process.argv[2] ?? '';
// The first call loads further modules of Node and the SDK, which need descriptors.
await failureOf({ endpointUrl });
try {
  for (;;) openSync('/dev/null', 'r');
} catch {
  // The last free descriptor is used.
}
console.log(JSON.stringify(await failureOf({ endpointUrl })));
