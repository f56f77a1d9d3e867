import { Command } from 'commander';
import { toKeyError } from '../errors.ts';
import { keyFileName } from '../format/key-file-name.ts';
import { parseKeyIdSet } from '../ids.ts';
import { type VerifiedKeys, verifyKeys } from '../keyring/verify-keys.ts';
import { openStore } from '../keystore/open-store.ts';
import { retiredIn } from '../keystore/retired.ts';
import { OperatorCaller } from '../kms/operator-caller.ts';
import { printableJson } from '../printable.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import { connectAsCaller, type KeyOptions, serverKeysOf, withKeys } from './key-commands.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { progressLine } from './progress-line.ts';
import { withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface VerifyOptions extends KeyOptions {
  readonly metadataOnly?: boolean;
  readonly check?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const HELP = `
Example:
  mariadb-aws-kms verify

Exit status:
  0  each key version is there and opens; warnings are printed
  1  a key version is missing, damaged, or does not open
  2  bad usage
  3  something could not be looked at: KMS, a permission, a file

Exit status with --check, as monitoring systems have it:
  0  OK
  1  WARNING   a sidecar or a file name is not in order
  2  CRITICAL  a key version is missing, damaged, or does not open
  3  UNKNOWN   something could not be looked at

AWS actions: kms:Decrypt on the master keys; none with --metadata-only`;

/** `mariadb-aws-kms verify`. @throws KeyError BAD_OPTION, STORE_UNAVAILABLE, KEY_UNKNOWN, KEY_FILE_MISSING */
export function verifyCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeys(new Command('verify'))
    .description('check that every stored key version is there, is what was stored, and opens')
    .option('--metadata-only', 'look at the files only, without calling KMS')
    .option('--check', 'print one line and exit as a plugin of a monitoring system does')
    .option(
      '--json',
      'print the result as JSON: { ok, directory, versions, opened, undescribed, problems, warnings, unseen }',
    )
    .option('--quiet', 'print problems only')
    .addHelpText('after', HELP)
    .action(async (options: VerifyOptions) => {
      if (options.check !== true) {
        const { directory, found } = await look(options, surroundings(), io);
        report(io, options, directory, found);
        return;
      }
      try {
        check(io, (await look(options, surroundings(), io)).found);
      } catch (thrown) {
        const { code, message } = withoutSecrets(toKeyError(thrown));
        const isLost = code === 'KEY_FILE_MISSING';
        io.stdout(`KEYS ${isLost ? 'CRITICAL' : 'UNKNOWN'}: ${message}`);
        io.exit(isLost ? CRITICAL : UNKNOWN);
      }
    });
}

async function look(
  options: VerifyOptions,
  outside: Surroundings,
  io: CliIo,
): Promise<{ readonly directory: string; readonly found: VerifiedKeys }> {
  const keyIds = parseKeyIdSet(options.keys, '--keys');
  const { server, place } = await serverKeysOf(options, outside);
  const { directory, named } = place;
  const disk = diskOf(outside);
  const stop = new AbortController();
  const forget = io.onSignal(() => stop.abort());
  const show = progressLine(io, outside.clock);
  const kms = options.metadataOnly === true ? undefined : await connectAsCaller(server, outside);
  try {
    const found = await verifyKeys({
      store: openStore(directory, disk, named),
      keyIds,
      kms: kms && new OperatorCaller(kms, outside),
      context: server.context,
      retired: await retiredIn(directory, disk.fileSystem, named),
      clock: outside.clock,
      progress: (done, all) => show(() => `${done} of ${all} key versions`),
      signal: stop.signal,
    });
    io.redraw?.('');
    return { directory, found };
  } finally {
    forget();
    kms?.close();
  }
}

function statusOf({ problems, unseen }: VerifiedKeys): number {
  if (problems.length > 0) return FAILED;
  return unseen.length > 0 ? INCOMPLETE : 0;
}

function report(io: CliIo, { json, quiet, metadataOnly }: VerifyOptions, directory: string, found: VerifiedKeys): void {
  const problems = found.problems.map(withoutSecrets);
  const warnings = found.warnings.map(withoutSecrets);
  const unseen = found.unseen.map(withoutSecrets);
  const { versions, opened, undescribed } = found;
  const status = statusOf(found);
  if (json === true) {
    const names = (listed: VerifiedKeys['versions']) =>
      listed.map(({ id, version }) => ({ keyId: id, keyVersion: version }));
    const lists = { versions: names(versions), opened, undescribed: names(undescribed) };
    const errors = {
      problems: problemsAsJson(problems),
      warnings: problemsAsJson(warnings),
      unseen: problemsAsJson(unseen),
    };
    io.stdout(printableJson({ ok: status === 0, directory, ...lists, ...errors }, 2), 'prepared');
  } else {
    printProblems(io, problems);
    printProblems(io, unseen, 'not looked at: ');
    if (quiet !== true) {
      for (const { message, hint } of warnings) {
        io.stderr(`mariadb-aws-kms: warning: ${message}`);
        if (hint !== '') io.stderr(`hint: ${hint}`);
      }
      const [first, ...more] = undescribed;
      if (first !== undefined) {
        const others = more.length === 0 ? '' : ` and ${more.length} more`;
        io.stderr(
          `mariadb-aws-kms: note: no sidecar tells the data key of ${keyFileName(first)}${others}: whether it is the one that was made cannot be seen`,
        );
      }
      io.stdout(`${directory}: ${summary(found, metadataOnly === true)}`);
    }
  }
  io.exit(status);
}

function summary({ versions, opened, problems, unseen }: VerifiedKeys, isMetadataOnly: boolean): string {
  const count = `${versions.length} key ${versions.length === 1 ? 'version' : 'versions'}`;
  const open = isMetadataOnly ? 'KMS was not asked' : `${opened} open`;
  const wrong = problems.length === 0 ? '' : `, ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`;
  return `${count}, ${open}${wrong}${unseen.length === 0 ? '' : `, ${unseen.length} not looked at`}`;
}

const [WARNING, CRITICAL, UNKNOWN] = [1, 2, 3];

/** The line of a plugin of Nagios: state, text, and numbers after the bar. */
function check(io: CliIo, found: VerifiedKeys): void {
  const { versions, opened, problems, warnings, unseen } = found;
  const [state, status, first] =
    problems.length > 0
      ? ['CRITICAL', CRITICAL, problems[0]]
      : unseen.length > 0
        ? ['UNKNOWN', UNKNOWN, unseen[0]]
        : warnings.length > 0
          ? ['WARNING', WARNING, warnings[0]]
          : ['OK', 0, undefined];
  const about = first === undefined ? '' : `; ${withoutSecrets(first).message.replaceAll('|', '/')}`;
  const numbers = `versions=${versions.length} opened=${opened} problems=${problems.length} warnings=${warnings.length} unseen=${unseen.length}`;
  io.stdout(`KEYS ${state}: ${summary(found, false)}${about} | ${numbers}`);
  io.exit(status);
}
