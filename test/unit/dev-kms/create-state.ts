// A child process that opens the state file of argument 1 and prints the key that it finds or creates.
import { randomBytes } from 'node:crypto';
import { systemClock } from '../../../src/cli/system.ts';
import { createEmbeddedKms, initialState, openStateFile } from '../../../src/dev-kms/index.ts';

const region = 'us-east-1';
const parts = { clock: systemClock, randomBytes };
const path = process.argv[2] ?? '';
const initial = () => initialState({ ...parts, region, aliases: ['alias/main'] });
const state = openStateFile(path, initial, randomBytes);
const arn = createEmbeddedKms({ ...parts, state }).ensureAlias(region, 'alias/main');
console.log(arn, state.read().keys[0]?.material.id);
