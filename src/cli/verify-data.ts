import { Command } from 'commander';
import { counted, size } from '../audit/amounts.ts';
import { type DataProof, type VerifiedData, verifyData } from '../decrypt/verify-data.ts';
import { KeyError } from '../errors.ts';
import { printableJson } from '../printable.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { auditPlaces } from './audit-places.ts';
import { type KeySourceOptions, withDataKeys, withKeySource } from './decrypt/key-source.ts';
import { withAllThreads } from './decrypt/page-threads.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { progressLine } from './progress-line.ts';
import { withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface VerifyDataOptions extends KeySourceOptions {
  readonly json?: boolean;
}

const NAMED_FILES = 5;
const HELP = `
Exit status:
  0  every encrypted page and event decrypts
  1  a key version is not there, or something does not decrypt
  2  bad usage
  3  INCOMPLETE: something could not be read, nothing shows that its key is right, or nothing was found`;
const EXAMPLES = `
Example:
  mariadb-aws-kms verify-data --keyfile-dir /backup/keys /backup/2030-01-01
  mariadb-aws-kms verify-data --key-file keys.txt /backup/2030-01-01
  mariadb-aws-kms verify-data shop/*.ibd`;
const PROOFS: Readonly<Record<DataProof, string>> = {
  checksum: 'by their own checksum or content',
  fields: 'by tablespace and LSN in them',
  inflated: 'by decompressing them',
  unproven: 'by nothing: their compression is not read here',
  key: 'by having their key: of redo logs nothing else is tried',
};

/** `mariadb-aws-kms verify-data`. @throws KeyError BAD_OPTION, KEY_FILE_… */
export function verifyDataCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeySource(new Command('verify-data'))
    .description(
      'decrypt every encrypted page and event of a backup or a data directory, write nothing, and tell whether it can be restored',
    )
    .argument('[file...]', 'data files, or directories with a copy or a backup, in place of the data of the server')
    .option('--datadir <directory>', 'override datadir')
    .option(
      '--json',
      'print the result as JSON: { where, ok, complete, keyVersions, missing, files, unseen, problems }',
    )
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLES)
    .action(async (paths: readonly string[], options: VerifyDataOptions) => {
      const outside = surroundings();
      const { datadir, defaults, defaultsFile, defaultsExtraFile, group } = options;
      const about = {
        defaults,
        group,
        ...(datadir !== undefined && { datadir }),
        ...(defaultsFile !== undefined && { defaultsFile }),
        ...(defaultsExtraFile !== undefined && { defaultsExtraFile }),
      };
      const { where, places, unseen } = await auditPlaces(paths, about, outside);
      const interrupted = new AbortController();
      const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted')));
      const { random, clock, files } = outside;
      const show = progressLine(io, clock);
      const progress = (count: number, bytes: number): void =>
        show(() => `verify-data: ${counted(count, 'file')}, ${size(bytes)} read`);
      const startMs = clock.monotonicMs();
      try {
        const data = await withDataKeys(io, options, outside, (keys) =>
          withAllThreads((threads) =>
            verifyData(places, { keys, threads, random, signal: interrupted.signal, disk: files.data, progress }),
          ),
        );
        io.redraw?.('');
        const all = { ...data, unseen: [...unseen, ...data.unseen], keyProblems: data.keyProblems.map(withoutSecrets) };
        if (options.json) io.stdout(asJson(where, all), 'prepared');
        else print(io, where, all, clock.monotonicMs() - startMs);
        io.exit(statusOf(all));
      } finally {
        forget();
      }
    });
}

function statusOf({ files, unseen }: VerifiedData): number {
  if (files.some(({ failed }) => failed > 0)) return FAILED;
  const isComplete = unseen.length === 0 && files.length > 0 && files.every(({ unproven }) => unproven === 0);
  return isComplete ? 0 : INCOMPLETE;
}

/** The versions of all files, with the number of pages and events and of files of each. */
function versionsOf({ files }: VerifiedData) {
  const sums = new Map<string, { keyId: number; version: number; decrypted: number; files: number }>();
  for (const { versions } of files)
    for (const { keyId, version, decrypted } of versions) {
      const sum = sums.get(`${keyId}.${version}`) ?? { keyId, version, decrypted: 0, files: 0 };
      sum.decrypted += decrypted ?? 0;
      sum.files += 1;
      sums.set(`${keyId}.${version}`, sum);
    }
  return [...sums.values()].sort((a, b) => a.keyId - b.keyId || a.version - b.version);
}

/** The versions that cannot be had, with the files that need them. */
function missingOf({ files }: VerifiedData) {
  const sums = new Map<string, { keyId: number; version: number; files: string[] }>();
  for (const { file, missing } of files)
    for (const { keyId, version } of missing) {
      const sum = sums.get(`${keyId}.${version}`) ?? { keyId, version, files: [] };
      sum.files.push(file);
      sums.set(`${keyId}.${version}`, sum);
    }
  return [...sums.values()].sort((a, b) => a.keyId - b.keyId || a.version - b.version);
}

function asJson(where: string, data: VerifiedData): string {
  const { files, unseen, keyProblems } = data;
  return printableJson(
    {
      where,
      ok: statusOf(data) === 0,
      complete: unseen.length === 0 && files.length > 0 && files.every(({ unproven }) => unproven === 0),
      keyVersions: versionsOf(data),
      missing: missingOf(data),
      files,
      unseen,
      problems: problemsAsJson(keyProblems),
    },
    2,
  );
}

function print(io: CliIo, where: string, data: VerifiedData, ms: number): void {
  const { files, unseen, keyProblems } = data;
  for (const { keyId, version, decrypted, files: count } of versionsOf(data))
    io.stdout(
      `key ${keyId} version ${version}: ${counted(decrypted, 'page or event', 'pages and events')} of ${counted(count, 'file')} decrypt`,
    );
  for (const [proof, text] of Object.entries(PROOFS)) {
    const count = files.reduce(
      (sum, { proofs }) => sum + (Object.entries(proofs).find(([name]) => name === proof)?.[1] ?? 0),
      0,
    );
    if (count > 0) io.stdout(`  ${counted(count, 'is', 'are')} proved ${text}`);
  }
  printProblems(io, keyProblems);
  for (const { keyId, version, files: needing } of missingOf(data)) {
    const more = needing.length > NAMED_FILES ? ` and ${needing.length - NAMED_FILES} more` : '';
    io.stderr(
      `mariadb-aws-kms: error: key ${keyId} version ${version} is needed by ${needing.slice(0, NAMED_FILES).join(', ')}${more}`,
    );
  }
  for (const { file, failures, failed, failedFree, unproven } of files) {
    if (unproven > 0)
      io.stderr(
        `mariadb-aws-kms: not proved: ${file}: nothing shows that ${counted(unproven, 'page')} were decrypted with the right key`,
      );
    for (const failure of failures) io.stderr(`mariadb-aws-kms: error: ${file}: ${failure}`);
    if (failed > 0)
      io.stderr(
        `mariadb-aws-kms: error: ${file}: ${counted(failed, 'page or event', 'pages and events')} in use cannot be read`,
      );
    if (failedFree > 0)
      io.stderr(
        `mariadb-aws-kms: note: ${file}: ${counted(failedFree, 'free page')} do not decrypt: nothing is in them`,
      );
  }
  for (const { path, reason } of unseen) io.stderr(`mariadb-aws-kms: not read: ${path}: ${reason}`);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const answer = {
    0: 'everything that is encrypted decrypts',
    [FAILED]: 'NOT everything that is encrypted decrypts',
    [INCOMPLETE]: 'INCOMPLETE: not everything could be read and proved',
  }[statusOf(data)];
  io.stdout(
    `${where}: ${counted(files.length, 'file')}, ${size(bytes)}, in ${(ms / 1000).toFixed(1)} s: ${answer ?? ''}`,
  );
}
