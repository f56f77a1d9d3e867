import { Command } from 'commander';
import { wipe } from '../../bytes.ts';
import { describePageFailure, describeReason, describeType } from '../../decrypt/tablespace/describe.ts';
import { decryptPage, type PageResult } from '../../decrypt/tablespace/tablespace.ts';
import { createNewFile } from '../../disk/new-file.ts';
import { KeyError } from '../../errors.ts';
import { FIELD } from '../../format/innodb/page-fields.ts';
import { PROOFS } from '../../format/innodb/page-proof.ts';
import { parseDecimal } from '../../ids.ts';
import { printableJson } from '../../printable.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import { FAILED, INCOMPLETE } from '../exit-status.ts';
import { printProblems, problemsAsJson } from '../problems.ts';
import type { CliIo } from '../process-io.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { type KeySourceOptions, withDataKeys, withKeySource } from './key-source.ts';

interface PageOptions extends KeySourceOptions {
  readonly page: number;
  readonly to?: string;
  readonly hex?: boolean;
  readonly json?: boolean;
}

const HELP = `
Exit status:
  0  the page is in clear, or decrypts
  1  it is not right, or its key cannot be had
  2  bad usage
  3  UNPROVEN: it decrypts, and nothing in it shows that the key is right`;
const EXAMPLE = `
Example:
  mariadb-aws-kms decrypt page --page 3 --hex shop/t.ibd`;
const LINE_BYTES = 16;

/** `mariadb-aws-kms decrypt page`. @throws KeyError BAD_OPTION, DATA_UNREADABLE, STORE_UNAVAILABLE, KEY_FILE_… */
export function decryptPageCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeySource(new Command('page'))
    .description('tell what is known of one page of an InnoDB tablespace, and decrypt it')
    .argument('<file>', 'the tablespace')
    .requiredOption('--page <number>', 'number of the page', pageNumber)
    .option('--to <path>', 'new file for the page in clear')
    .option('--hex', 'print the page in clear, in hexadecimal digits')
    .option(
      '--json',
      'print the result as JSON: { ok, file, page, spaceId, keyId, keyVersion, algorithm, lsn, type, isFree, proof, reason, problems, hex }',
    )
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLE)
    .action(async (file: string, options: PageOptions) => {
      const outside = surroundings();
      await withDataKeys(io, options, outside, async (keys) => {
        const found = await decryptPage(file, options.page, keys);
        try {
          const facts = factsOf(found);
          if (facts.ok && options.to !== undefined) await write(options.to, found.page, outside);
          if (options.json) {
            const problems = problemsAsJson(found.keyProblems);
            const hex = facts.ok && options.hex ? found.page.toString('hex') : undefined;
            io.stdout(printableJson({ ...facts, file, page: options.page, problems, hex }, 2), 'prepared');
          } else {
            print(io, file, options.page, found);
            if (facts.ok && options.hex) for (const line of hexLines(found.page)) io.stdout(line, 'prepared');
          }
          io.exit(facts.ok ? (facts.proof === 'unproven' ? INCOMPLETE : 0) : FAILED);
        } finally {
          wipe(found.page);
        }
      });
    });
}

function pageNumber(text: string): number {
  const number = parseDecimal(text);
  if (number === undefined) throw new KeyError('BAD_OPTION', `--page: expected a number, got ${text}`);
  return number;
}

function factsOf({ page, layout, keyId, isFree, result }: PageResult) {
  const [version, counts] = [...result.versions][0] ?? [];
  return {
    ok: result.failed + result.failedFree + result.copies === 0,
    spaceId: layout.id,
    keyId,
    keyVersion: version,
    algorithm: counts?.algorithm,
    lsn: page.readBigUInt64BE(FIELD.lsn).toString(),
    type: page.readUInt16BE(FIELD.type),
    isFree,
    proof: counts && PROOFS.find((proof) => counts.proofs[proof] > 0),
    reason: result.failures[0]?.reason ?? result.freeReason,
  };
}

function print(io: CliIo, file: string, number: number, found: PageResult): void {
  const { keyId, keyVersion, algorithm, lsn, type, isFree, proof, reason, spaceId } = factsOf(found);
  const { layout, result, keyProblems } = found;
  const lines = [
    `${file}: page ${number} of tablespace ${spaceId} (${layout.form}, ${layout.fileBytes} bytes)`,
    ...(result.empty > 0 ? ['it was never written'] : [`${describeType(type)}; LSN ${lsn}`]),
    ...(isFree ? ['it is free: nothing in it is needed'] : []),
    ...(keyVersion === undefined
      ? []
      : [`encrypted with key ${keyId ?? ''} version ${keyVersion}${algorithm ? `, ${algorithm}` : ''}`]),
    ...(result.clear > 0 ? ['it is in clear, and its checksum is right'] : []),
    ...(result.copies > 0
      ? ['it is a copy in the doublewrite area, of a page of any tablespace, and is not decrypted']
      : []),
    ...(proof === undefined ? [] : [`it decrypts: proved by ${proof === 'unproven' ? 'nothing' : proof}`]),
  ];
  for (const line of lines) io.stdout(line);
  printProblems(io, keyProblems);
  const [failure] = result.failures;
  if (failure !== undefined) io.stderr(`mariadb-aws-kms: error: ${describePageFailure(failure)}`);
  else if (reason !== undefined) io.stderr(`mariadb-aws-kms: error: page ${number}: ${describeReason(reason)}`);
}

async function write(path: string, page: Buffer, { random }: Surroundings): Promise<void> {
  const file = createNewFile(path, random);
  try {
    file.write(page, 0);
    await file.complete();
  } finally {
    file.close();
  }
}

function* hexLines(page: Buffer): Generator<string> {
  for (let at = 0; at < page.length; at += LINE_BYTES) {
    const bytes = page.subarray(at, at + LINE_BYTES);
    const digits = bytes.toString('hex').replaceAll(/(..)(?=.)/g, '$1 ');
    yield `${at.toString(16).padStart(5, '0')}  ${digits}`;
  }
}
