/** The common part of `import`: the server, the proof on its data, the key directory, and the report. */
import type { Command } from 'commander';
import { counted } from '../../audit/amounts.ts';
import type { VerifiedData } from '../../decrypt/verify-data.ts';
import { KeyError } from '../../errors.ts';
import type { EncryptionAlgorithm } from '../../format/encryption-algorithm.ts';
import { describeKeys, type KeyName } from '../../format/key-file-name.ts';
import { type ImportResult, importKeys } from '../../import/import-keys.ts';
import { type ForeignKey, ForeignKeys } from '../../import/imported-key.ts';
import { type Proof, proofIn } from '../../import/prove.ts';
import { openStore } from '../../keystore/open-store.ts';
import type { KmsInspector } from '../../kms/inspect.ts';
import { OperatorCaller } from '../../kms/operator-caller.ts';
import { printableJson } from '../../printable.ts';
import type { Configuration } from '../../server/configuration.ts';
import { diskOf, type Surroundings } from '../../server/surroundings.ts';
import { type Audited, type AuditLogOptions, audited, withAuditLog } from '../audited.ts';
import { FAILED, INCOMPLETE } from '../exit-status.ts';
import { connectAsCaller, readKeyServer } from '../key-commands.ts';
import { type OptionFileOptions, withOptionFiles } from '../option-files.ts';
import { printProblems, problemsAsJson } from '../problems.ts';
import type { CliIo } from '../process-io.ts';
import { progressLine } from '../progress-line.ts';
import { type KeyPlace, namedKeyPlace } from '../read-server.ts';
import { serverData } from '../server-data.ts';
import { withoutSecrets } from '../system.ts';
import { type Change, changeLines, describeChange } from './change.ts';

export interface TargetOptions extends OptionFileOptions, AuditLogOptions {
  readonly masterKeyId?: string;
  readonly datadir?: string;
  readonly keyfileDir?: string;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly encryptionContext?: string;
  readonly acceptUnproven?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** The keys of another key management. */
export interface Source {
  /** The verb for the audit log, such as `import vault`. */
  readonly command: string;
  /** The name in messages, such as `the key file /etc/mysql/keys.txt`. */
  readonly place: string;
  readonly keys: readonly ForeignKey[];
  /** The algorithm that the options name: it decides where the data shows none. */
  readonly algorithm: EncryptionAlgorithm | undefined;
  /** True: a user named it, and no other is tried. */
  readonly isAlgorithmSure: boolean;
  readonly warnings: readonly string[];
  readonly change: Change;
}

const LOGGED_REQUESTS = 100;

export const IMPORT_HELP = `
Exit status:
  0  all keys are in the key directory, and the data opens with them
  1  something is not as it has to be, or KMS refused; what was done is said, and the next run goes on
  2  bad usage
  3  INCOMPLETE: something of the data could not be read, or shows nothing: nothing was written

AWS actions:
  kms:Encrypt and kms:Decrypt on the master key, for the identity of whoever runs this, and not for the server's:
  mariadb-aws-kms policy --for import --master-key-arn ARN`;

/** Adds the options of `importInto`. */
export function withTarget(command: Command): Command {
  return withAuditLog(withOptionFiles(command))
    .option('--master-key-id <key>', 'override aws_key_management_master_key_id: ARN, alias or id')
    .option('--datadir <directory>', 'override datadir: the data on which the keys are proved')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir: the directory to store the keys in')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option('--encryption-context <pairs>', 'override aws_key_management_encryption_context')
    .option('--accept-unproven', 'go on although some of the data could not be read, or shows nothing about its key')
    .option('--dry-run', 'prove the keys on the data, ask KMS whether it would wrap them, and write nothing')
    .option('--quiet', 'print problems alone')
    .option(
      '--json',
      'print the result as JSON: { ok, directory, masterKeyId, source, dryRun, algorithm, imported, already, untried, proved, incomplete, warnings, remove, add, destroy, problems }',
    );
}

export interface Target {
  readonly server: Configuration;
  readonly place: KeyPlace;
  readonly masterKeyId: string;
}

/** @throws KeyError BAD_OPTION */
export async function targetOf(options: TargetOptions, outside: Surroundings): Promise<Target> {
  const server = await readKeyServer(options, outside);
  if (server.isMock)
    throw new KeyError('BAD_OPTION', 'the server is in mock mode, whose keys protect nothing: import nothing into it');
  const { masterKeyId } = server;
  if (masterKeyId === '')
    throw new KeyError('BAD_OPTION', 'no master key is named, and aws_key_management_master_key_id is not set', {
      hint: 'name the key of KMS that is to wrap the keys: --master-key-id alias/NAME, or its ARN',
    });
  const place = await namedKeyPlace(server, options.keyfileDir, outside);
  return { server, place, masterKeyId };
}

/** Proves the keys on the server's data, wraps and stores them, and reports. */
export async function importInto(
  io: CliIo,
  options: TargetOptions,
  outside: Surroundings,
  target: Target,
  source: Source,
): Promise<void> {
  const interrupted = new AbortController();
  const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted')));
  for (const warning of source.warnings) io.stderr(`mariadb-aws-kms: warning: ${source.place}: ${warning}`);
  const { server, place, masterKeyId } = target;
  let kms: KmsInspector | undefined;
  try {
    const proof = await prove(io, options, outside, source, interrupted.signal);
    if (proof.incomplete.length > 0 && options.acceptUnproven !== true) {
      refuseIncomplete(io, options, proof);
      return;
    }
    const algorithm = proof.algorithm ?? source.algorithm ?? 'AES_CBC';
    // The identity is that of the user who runs this, also for root: the server's identity may not call Encrypt.
    kms = await connectAsCaller(server, outside);
    const show = progressLine(io, outside.clock);
    const request = {
      store: openStore(place.directory, diskOf(outside), place.named),
      keys: source.keys,
      algorithm,
      masterKeyId,
      context: server.context,
      isDryRun: options.dryRun ?? false,
      signal: interrupted.signal,
    };
    const work = importKeys.bind(undefined, request, {
      kms: new OperatorCaller(kms, outside),
      clock: outside.clock,
      progress: (done, of) => show(() => `import: ${done} of ${of} keys`),
    });
    const { directory } = place;
    const about = { source: source.place, directory, masterKeyId, algorithm, keyVersions: source.keys.length };
    const { value: result, statusOf } =
      options.dryRun === true
        ? { value: await work(), statusOf: (status: number) => status }
        : await audited({ io, outside, options }, source.command, about, async () => {
            const value = await work();
            return { value, ...outcomeOf(value, interrupted.signal) };
          });
    io.redraw?.('');
    report(io, options, { target, source, proof, algorithm, result });
    io.exit(statusOf(result.problems.length + result.untried.length === 0 ? 0 : FAILED));
  } finally {
    forget();
    kms?.close();
  }
}

/** Sidecars have the request id of each key; the log has the first of them. */
function outcomeOf(
  result: ImportResult,
  signal: AbortSignal,
): Pick<Audited<unknown>, 'outcome' | 'facts' | 'kmsRequestIds'> {
  const { imported, already, problems, untried, requestIds } = result;
  const isDone = problems.length + untried.length === 0;
  return {
    outcome: isDone ? 'done' : signal.aborted ? 'interrupted' : 'failed',
    facts: {
      imported: imported.length,
      already: already.length,
      untried: untried.length,
      ...(problems[0] === undefined ? {} : { problem: withoutSecrets(problems[0]).message }),
    },
    kmsRequestIds: requestIds.slice(0, LOGGED_REQUESTS),
  };
}

/** The mode of the server is in its options at most; where they and the data do not agree, the data is right. */
async function prove(
  io: CliIo,
  options: TargetOptions,
  outside: Surroundings,
  { place, keys, algorithm, isAlgorithmSure }: Source,
  signal: AbortSignal,
): Promise<Proof> {
  const verify = await serverData(io, 'import', options, outside, signal);
  const look = async (as: EncryptionAlgorithm | undefined): Promise<VerifiedData> =>
    await verify(new ForeignKeys(place, keys, as));
  let data = await look(isAlgorithmSure ? algorithm : undefined);
  // The options decide when compression hides the mode.
  if (!isAlgorithmSure && algorithm !== undefined && data.files.some(({ failed }) => failed > 0))
    data = await look(algorithm);
  const has = (id: number, version: number): boolean => keys.some((key) => key.id === id && key.version === version);
  return proofIn(data, place, has);
}

function refuseIncomplete(io: CliIo, { json }: TargetOptions, { incomplete }: Proof): void {
  const hint = 'run this as root, where files cannot be read; to go on all the same: --accept-unproven';
  const problems = incomplete.map((text) => new KeyError('DATA_UNREADABLE', text, { hint }));
  if (json === true) io.stdout(printableJson({ ok: false, problems: problemsAsJson(problems) }, 2), 'prepared');
  else {
    printProblems(io, problems, 'not proved: ');
    io.stderr('mariadb-aws-kms: INCOMPLETE: nothing was written');
  }
  io.exit(INCOMPLETE);
}

interface Reported {
  readonly target: Target;
  readonly source: Source;
  readonly proof: Proof;
  readonly algorithm: EncryptionAlgorithm;
  readonly result: ImportResult;
}

function report(
  io: CliIo,
  { dryRun: isDryRun = false, json, quiet }: TargetOptions,
  { target, source, proof, algorithm, result }: Reported,
): void {
  const { imported, already, untried } = result;
  const problems = result.problems.map(withoutSecrets);
  const { directory } = target.place;
  const isDone = problems.length + untried.length === 0;
  const change = changeLines(target, source.change);
  if (json === true) {
    const listed = (names: readonly KeyName[]) => names.map(({ id, version }) => ({ keyId: id, keyVersion: version }));
    const about = {
      ok: isDone,
      directory,
      masterKeyId: target.masterKeyId,
      source: source.place,
      dryRun: isDryRun,
      algorithm,
    };
    const lists = { imported: listed(imported), already: listed(already), untried: listed(untried) };
    const { uses: proved, incomplete } = proof;
    const rest = { proved, incomplete, warnings: source.warnings, ...change, problems: problemsAsJson(problems) };
    io.stdout(printableJson({ ...about, ...lists, ...rest }, 2), 'prepared');
    return;
  }
  printProblems(io, problems, 'not imported: ');
  if (untried.length > 0) io.stderr(`mariadb-aws-kms: error: not tried: ${describeKeys(untried)}; run this again`);
  if (quiet === true) return;
  for (const { keyId, version, decrypted, files } of proof.uses)
    io.stdout(
      `key ${keyId} version ${version} opens ${counted(decrypted, 'page or event', 'pages and events')} of ${counted(files, 'file')}`,
    );
  const did = isDryRun ? 'would be stored' : 'stored';
  const before = already.length === 0 ? '' : `, ${already.length} there already`;
  io.stdout(
    `${directory}: ${counted(imported.length, 'key')} ${did} for ${algorithm}, wrapped by ${target.masterKeyId}${before}`,
  );
  if (isDone) for (const line of describeChange(change)) io.stdout(line);
}
