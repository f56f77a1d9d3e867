/** Writes the documents, and parts of documents, that are made from the code. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { optionFile } from '../src/format/option-file.ts';
import { credentialsDropIn } from '../src/setup/drop-in.ts';
import { errorsDocument } from './errors-table.ts';
import { referenceDocument } from './reference.ts';

const root = join(import.meta.dirname, '..');
const reference = join(root, 'docs/reference.md');
writeFileSync(join(root, 'docs/errors.md'), errorsDocument());
writeFileSync(reference, referenceDocument(readFileSync(reference, 'utf8')));
writeFileSync(join(root, 'packaging/aws_key_management.cnf'), optionFile());
writeFileSync(join(root, 'packaging/mariadb-aws-kms.conf'), credentialsDropIn());
