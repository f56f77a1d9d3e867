/** Prints the failure of a call to the endpoint of the first argument. */
import { failureOf } from '../../../../../support/failing-call.ts';

console.log(JSON.stringify(await failureOf({ endpointUrl: process.argv[2] ?? '' })));
