/** Some of the faults of `npm run reliability:files`, which writes all of them as a table. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { brokenByFault, FAULTS, type FaultReport, runFaults } from '../../campaigns/file-faults.ts';
import type { Moment } from '../../harness/trial.ts';
import { TEMPLATE } from '../support/global-setup.ts';

/** The message at each moment; none: the operation succeeds silently. */
const SAID: Readonly<Record<string, Readonly<Partial<Record<Moment, RegExp>>>>> = {
  'the file system is full': {
    create:
      /^\[ERROR\] AWS KMS plugin: cannot store key 50 version 1 in .*: ENOSPC: .*; the file system is full: free some/,
    rotate: /^AWS KMS plugin: cannot store key 3 version 2 in .*: ENOSPC: .*; the file system is full: free some/,
  },
  'the file system is read-only': {
    create:
      /^\[ERROR\] AWS KMS plugin: cannot store key 50 version 1 in .*: EROFS: .*; the file system is mounted read-only/,
    rotate: /^AWS KMS plugin: cannot store key 3 version 2 in .*: EROFS: .*/,
  },
  'the directory is gone': {
    start:
      /^\[ERROR\] AWS KMS plugin: cannot list the key directory .*: ENOENT: .*; if aws_key_management_keyfile_dir names the/,
    create:
      /^\[ERROR\] AWS KMS plugin: key 50: cannot list the key directory .*: ENOENT: .*; if aws_key_management_key/,
    rotate: /^AWS KMS plugin: cannot list the key directory .*: ENOENT: .*/,
  },
  'the agent has no file descriptors left': {
    create: /^\[ERROR\] AWS KMS plugin: .*EMFILE: .*; .*raise LimitNOFILE/,
    rotate: /^AWS KMS plugin: .*EMFILE: .*/,
  },
  'the key file is a FIFO': {
    start: /^\[ERROR\] AWS KMS plugin: key 3 version 1: key file aws-kms-key\.3\.1: it is not a regular file; restore/,
    create:
      /^\[ERROR\] AWS KMS plugin: key 50 version 1: key file aws-kms-key\.50\.1: it is not a regular file; restore/,
  },
  'the sidecar is a directory': {
    start: /^\[Warning\] AWS KMS plugin: key 3 version 1: sidecar aws-kms-key\.3\.1\.json: it is not a regular file/,
    create:
      /^\[ERROR\] AWS KMS plugin: key 50 version 1: its sidecar is in .*, its key file aws-kms-key\.50\.1 is gone; /,
  },
};

describe('a server whose key file storage fails', () => {
  let reports: readonly FaultReport[] = [];
  beforeAll(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'mak-faults-'));
    try {
      reports = await runFaults(
        directory,
        TEMPLATE,
        FAULTS.filter(({ what }) => what in SAID),
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }, 300_000);

  it.each(Object.entries(SAID))(
    'when %s, the server goes on or refuses with the reason, and loses nothing',
    (what, said) => {
      const report = reports.find(({ fault }) => fault.what === what);
      if (report === undefined) throw new Error('it was not tried');
      expect(brokenByFault(report)).toEqual([]);
      for (const { moment, error, log, changed } of report.cells) {
        const expected = said[moment];
        const lines = moment === 'rotate' && error !== '' ? [error] : log;
        if (expected === undefined) expect([error, ...log], moment).toEqual(['']);
        else
          expect(
            lines.filter((line) => expected.test(line)),
            `${moment}: ${lines.join('\n')}`,
          ).not.toEqual([]);
        // A refusal is an error, a warning is none.
        expect(error === '', `${moment}: ${error}`).toBe(expected === undefined || /Warning/.test(expected.source));
        // A control: without it, "unchanged" could mean that nothing was compared.
        if (moment !== 'start' && error === '') expect(changed, moment).not.toEqual([]);
      }
    },
  );
});
