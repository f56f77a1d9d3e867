import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { limitReports, VERSIONS_PER_START_SECOND } from '../../../src/doctor/key-limit.ts';
import { newPatient } from './patient.ts';

it("the doctor's limit of key versions equals the plugin's", () => {
  const header = readFileSync(join(import.meta.dirname, '../../../plugin/client/limit.h'), 'utf8');
  expect(header).toContain(`#define VERSIONS_PER_START_SECOND ${VERSIONS_PER_START_SECOND}u`);
});

it('a key directory that approaches the limit of a start causes a warning in time', () => {
  const told = (versions: number) => limitReports({ startTimeoutSeconds: 60 }, versions).map(({ found }) => found);
  expect(told(4799)).toEqual([]);
  expect(told(4800)).toEqual([
    '4800 key versions: at 6000 (100 for each second of aws_key_management_start_timeout) statements create no more keys',
  ]);
  expect(told(6000)).toEqual([
    '6000 key versions: statements create no more keys (6000 allowed: 100 for each second of aws_key_management_start_timeout)',
  ]);
});

it('doctor counts the key files', async () => {
  const keys = Array.from({ length: 80 }, (_, n) => `${n + 1}.1`);
  const patient = await newPatient({ keys, options: { aws_key_management_start_timeout: '1' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-files: 80 key versions: at 100 (100 for each second of aws_key_management_start_timeout) statements create no more keys
             list the key ids that are wanted: aws_key_management_key_ids = 1-2,FIRST-LAST, those may always be created; or aws_key_management_start_timeout = 2
    exit 0"
  `);
});
