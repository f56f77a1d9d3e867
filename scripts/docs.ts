/** Writes the documents that are made from the code. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorsDocument } from './errors-table.ts';

writeFileSync(join(import.meta.dirname, '../docs/errors.md'), errorsDocument());
