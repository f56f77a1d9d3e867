/** Writes the documents that are made from the code. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { optionFile } from '../src/format/option-file.ts';
import { credentialsDropIn } from '../src/setup/drop-in.ts';
import { errorsDocument } from './errors-table.ts';
import { settingsDocument } from './settings-table.ts';

const root = join(import.meta.dirname, '..');
writeFileSync(join(root, 'docs/errors.md'), errorsDocument());
writeFileSync(join(root, 'docs/settings.md'), settingsDocument());
writeFileSync(join(root, 'packaging/aws_key_management.cnf'), optionFile());
writeFileSync(join(root, 'packaging/mariadb-aws-kms.conf'), credentialsDropIn());
