import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { syncDirectory } from '../disk/files.ts';
import { KeyError } from '../errors.ts';
import { describeKeys, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { parseKeyIdSet } from '../ids.ts';
import { REWRAP_MS, type RewrapResult, rewrapKeys } from '../keyring/rewrap.ts';
import { refusedForRunner } from '../keyring/rewrap-refusals.ts';
import { backupNamedBy, storeUnavailable } from '../keystore/failures.ts';
import { openStore } from '../keystore/open-store.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import { isMultiRegion, isSameMasterKey, masterKeyInRegion, regionOf } from '../kms/master-key.ts';
import { OperatorCaller } from '../kms/operator-caller.ts';
import { RequestIds } from '../kms/request-ids.ts';
import { startDeadline, within } from '../kms/retry.ts';
import { printableJson } from '../printable.ts';
import type { Configuration } from '../server/configuration.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { type Audited, type AuditLogOptions, audited, withAuditLog } from './audited.ts';
import { makeDirectory } from './backup-keys.ts';
import { FAILED } from './exit-status.ts';
import { connectAsCaller, type KeyOptions, serverKeysOf, withKeys } from './key-commands.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface RewrapOptions extends KeyOptions, AuditLogOptions {
  readonly to: string;
  readonly backup: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const CALL_MS = 5_000;

/** `mariadb-aws-kms rewrap`. @throws KeyError BAD_OPTION, KEY_EXISTS, STORE_UNAVAILABLE, KMS_… of `--to` */
export function rewrapCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withAuditLog(withKeys(new Command('rewrap')))
    .description('move the key files to another master key by KMS ReEncrypt; no data changes, and the server may run')
    .requiredOption('--to <key>', 'new master key: ARN, alias or id')
    .requiredOption('--backup <directory>', 'copy the key files here before replacing any')
    .option('--dry-run', 'ask KMS whether it would succeed, and replace nothing')
    .option(
      '--json',
      'print the result as JSON: { directory, masterKeyArn, dryRun, backup, moved, already, untried, others, problems }',
    )
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms rewrap --to alias/new --backup /backup/keys')
    .action(async (options: RewrapOptions) => {
      const outside = surroundings();
      const keyIds = parseKeyIdSet(options.keys, '--keys');
      const { server, place } = await serverKeysOf(options, outside);
      const kms = await connectAsCaller(server, outside);
      try {
        const reEncrypted = new RequestIds('ReEncrypt');
        const caller = new OperatorCaller(kms, outside, reEncrypted);
        const newMasterKeyArn = await resolveNewKey(options.to, caller, outside);
        const isDryRun = options.dryRun ?? false;
        const disk = diskOf(outside);
        const request = {
          store: openStore(place.directory, disk, place.named),
          newMasterKeyArn,
          keyIds,
          makeBackupDirectory: isDryRun ? undefined : () => makeBackupDirectory(options.backup, outside),
          tool: `mariadb-aws-kms ${outside.release}`,
          holder: { host: hostname(), pid: process.pid },
        };
        const parts = {
          disk,
          kms: caller,
          context: server.context,
          tell: (line: string) => io.stderr(`mariadb-aws-kms: note: ${line}`),
        };
        const about = { directory: place.directory, masterKeyArn: newMasterKeyArn, keys: options.keys };
        const { value: result, statusOf } = isDryRun
          ? { value: await rewrapKeys(request, parts), statusOf: (status: number) => status }
          : await audited({ io, outside, options }, 'rewrap', about, async () => {
              const value = await rewrapKeys(request, parts);
              return { ...outcomeOf(value), kmsRequestIds: reEncrypted.ids, value };
            });
        const notes = await notesOn(server, newMasterKeyArn, kms, outside);
        report(io, { directory: place.directory, newMasterKeyArn, isDryRun, isJson: options.json ?? false }, result);
        for (const note of notes) io.stderr(`mariadb-aws-kms: note: ${note}`);
        io.exit(statusOf(isWhole(result) ? 0 : FAILED));
      } finally {
        kms.close();
      }
    });
}

/** Resolves `--to`. @returns the ARN of the master key @throws KeyError BAD_OPTION, KMS_…, TIMEOUT */
async function resolveNewKey(name: string, kms: OperatorCaller, { clock }: Surroundings): Promise<string> {
  const region = regionOf(name);
  if (region !== '' && region !== kms.region) {
    const hint = isMultiRegion(name)
      ? `if it has a replica here, name that: --to ${masterKeyInRegion(name, kms.region)}; if not: aws kms replicate-key --region ${region} --key-id ${name} --replica-region ${kms.region}`
      : `name a key in ${kms.region}. For keys that are needed in ${region}, make a multi-Region key in ${kms.region} (aws kms create-key --multi-region), move them to it, and replicate it (aws kms replicate-key)`;
    const text = `--to: that key is in ${region}, the wrapped keys are opened in ${kms.region}, and ReEncrypt works inside one Region`;
    throw new KeyError('BAD_OPTION', text, { hint });
  }
  if (/^arn:[^:]+:kms:[^:]+:[^:]+:key\//.test(name)) return name;
  const deadline = startDeadline(clock, REWRAP_MS);
  try {
    return await kms.resolve(`--to ${name}`, name, deadline).catch(refusedForRunner);
  } finally {
    deadline.cancel();
  }
}

/** Creates a new directory for each run: earlier runs moved other files, and keep theirs. */
async function makeBackupDirectory(parent: string, { clock, files }: Surroundings): Promise<string> {
  const directory = resolve(parent);
  const time = new Date(clock.wallMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const made = join(directory, `rewrap-${time}`);
  await makeDirectory(files.keyDirectory, directory, '--backup');
  await makeDirectory(files.keyDirectory, made, '--backup');
  try {
    await syncDirectory(files.keyDirectory, directory);
  } catch (cause) {
    throw storeUnavailable(directory, 'sync', cause, backupNamedBy('--backup'));
  }
  return made;
}

/** Notes about the server's settings, which apply to new versions and to the next start. */
async function notesOn(
  server: Configuration,
  newMasterKeyArn: string,
  kms: KmsInspector,
  { clock }: Surroundings,
): Promise<readonly string[]> {
  const { masterKeyId, failoverRegions } = server;
  const describe = (signal: AbortSignal) => kms.describeKey(masterKeyId, signal);
  const current =
    masterKeyId === '' ? undefined : await within(clock, CALL_MS, describe).catch(() => ({ arn: masterKeyId }));
  const isCurrent = current !== undefined && isSameMasterKey(current.arn, newMasterKeyArn);
  const replicas = failoverRegions.map(({ region }) => region).join(', ');
  return [
    ...(isCurrent
      ? []
      : [
          `new versions are made under aws_key_management_master_key_id (${masterKeyId || 'not known here'}): set it to ${newMasterKeyArn}, or an alias of it, in the option file, and with SET GLOBAL in the server that runs`,
        ]),
    ...(replicas === '' || isMultiRegion(newMasterKeyArn)
      ? []
      : [`aws_key_management_failover_regions names ${replicas}, and the new master key can have no replica there`]),
  ];
}

function isWhole({ problems, untried }: RewrapResult): boolean {
  return problems.length === 0 && untried.length === 0;
}

function outcomeOf(result: RewrapResult): Pick<Audited<unknown>, 'outcome' | 'facts'> {
  const { backup, moved, problems } = result;
  const facts = { backup, moved: moved.map(keyFileName), problems: problems.map(({ message }) => message) };
  return { outcome: isWhole(result) ? 'done' : 'failed', facts };
}

interface Reported {
  readonly directory: string;
  readonly newMasterKeyArn: string;
  readonly isDryRun: boolean;
  readonly isJson: boolean;
}

function report(io: CliIo, { directory, newMasterKeyArn, isDryRun, isJson }: Reported, result: RewrapResult): void {
  const { backup, moved, already, untried, others } = result;
  const problems = result.problems.map(withoutSecrets);
  if (isJson) {
    const listed = (names: readonly KeyName[]) => names.map(({ id, version }) => ({ keyId: id, keyVersion: version }));
    const lists = {
      moved: listed(moved),
      already: listed(already),
      untried: listed(untried),
      others: listed(others),
      problems: problemsAsJson(problems),
    };
    const about = { directory, masterKeyArn: newMasterKeyArn, dryRun: isDryRun, backup };
    io.stdout(printableJson({ ...about, ...lists }, 2), 'prepared');
    return;
  }
  printProblems(io, problems, 'not moved: ');
  if (untried.length > 0) io.stderr(`mariadb-aws-kms: error: not tried: ${describeKeys(untried)}`);
  const did = isDryRun ? 'would be moved' : 'moved';
  io.stdout(
    `${directory}: ${countOf(moved)} ${did} to ${newMasterKeyArn}${already.length === 0 ? '' : `, ${already.length} under it already`}`,
  );
  if (backup !== undefined) io.stdout(`as they were: ${backup}`);
  if (others.length > 0 && !isDryRun) io.stdout(`not under it: ${describeKeys(others)}`);
}

function countOf({ length }: readonly KeyName[]): string {
  return `${length} key ${length === 1 ? 'version' : 'versions'}`;
}
