import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { errorsDocument } from '../../../../../scripts/errors-table.ts';
import { FAILURE_TABLE } from '../../../../../src/kms/failures/classify.ts';
import type { FailureKind } from '../../../../../src/kms-failure.ts';
import { startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { ATTEMPTS } from '../../../../support/failing-call.ts';
import { ANSWERS } from './answers.ts';
import type { FailureCases } from './case.ts';
import { CREDENTIALS } from './credentials.ts';
import { MADE_UP, NETWORK } from './network.ts';
import { TLS } from './tls.ts';

const CODES: Readonly<Record<FailureKind, string>> = {
  operator: 'KMS_OPERATOR',
  transient: 'KMS_TRANSIENT',
  corrupt: 'KMS_CORRUPT',
  other: 'KMS_BAD_ANSWER',
};
const CASES: FailureCases = { ...ANSWERS, ...NETWORK, ...TLS, ...CREDENTIALS };
const ROWS = Object.entries(FAILURE_TABLE).map(([name, row]) => ({
  name,
  row,
  how: `${MADE_UP.includes(name) ? 'of a system call that is made to fail, ' : ''}through the SDK`,
}));

it('every row of the failure table has a case, and every case a row', () => {
  expect(Object.keys(CASES).sort()).toEqual(Object.keys(FAILURE_TABLE).sort());
});

it.each(ROWS)(
  '$name, $how, is what its row says',
  async ({ name, row }) => {
    const drive = CASES[name];
    if (drive === undefined) throw new Error('no case makes the SDK fail in this way');
    const { failure, said, requestId } = await drive(await startScene());
    const attempts = ATTEMPTS[row.retry];
    expect(failure.names).toEqual(Array(attempts).fill(name));
    expect({ code: failure.code, hint: failure.hint }).toEqual({ code: CODES[row.kind], hint: row.hint });
    const times = attempts > 1 ? ` after ${attempts} attempts` : '';
    const request = requestId === undefined ? '' : ` \\(request ${requestId}\\)`;
    expect(failure.message).toMatch(
      new RegExp(`^key 1 version 1: KMS GenerateDataKeyWithoutPlaintext failed${times}: ${name}: ${said}${request}$`),
    );
  },
  30_000,
);

it('docs/errors.md is generated from the failure table', () => {
  const path = join(import.meta.dirname, '../../../../../docs/errors.md');
  expect(readFileSync(path, 'utf8'), 'docs/errors.md is out of date: npm run docs').toBe(errorsDocument());
});
