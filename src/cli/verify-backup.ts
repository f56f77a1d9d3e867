import { resolve } from 'node:path';
import { Command } from 'commander';
import { KeyError } from '../errors.ts';
import { describeVersions, type Manifest } from '../format/manifest.ts';
import { unwrapBackup } from '../keyring/unwrap-backup.ts';
import { checkBackup } from '../keystore/verify-backup.ts';
import { OperatorCaller } from '../kms/operator-caller.ts';
import { startDeadline } from '../kms/retry.ts';
import { printableJson } from '../printable.ts';
import { kmsTarget } from '../server/kms-target.ts';
import { adoptEnvironment } from '../server/service/server-environment.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { FAILED } from './exit-status.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { asKeyOwner, readServer } from './read-server.ts';
import { withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface VerifyBackupOptions extends OptionFileOptions {
  /** False with --no-kms. */
  readonly kms: boolean;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly encryptionContext?: string;
  readonly json?: boolean;
}

const UNWRAP_MS = 60_000;
const CALL_MS = 5_000;

/** `mariadb-aws-kms verify-backup`. @throws KeyError BAD_OPTION, MANIFEST_CORRUPT, STORE_UNAVAILABLE */
export function verifyBackupCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withOptionFiles(new Command('verify-backup'))
    .description('check that every key of a backup is present and unchanged, and that KMS decrypts it')
    .argument('<directory>', 'the backup directory that was given to backup-keys --to')
    .option('--no-kms', 'check the files only, without calling KMS')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option('--encryption-context <pairs>', 'override aws_key_management_encryption_context')
    .option('--json', 'print the result as JSON: { directory, ok, created, updated, keys, unwrapped, problems }')
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms verify-backup /backup/2030-01-01')
    .action(async (path: string, options: VerifyBackupOptions) => {
      const outside = surroundings();
      const directory = resolve(path);
      const { manifest, damage, unlisted, gaps } = await checkBackup(directory, diskOf(outside));
      const problems = [...damage, ...unlisted, ...gaps, ...emptiness(directory, manifest)];
      // KMS is asked only about undamaged files: its refusal of changed bytes would tell nothing.
      const isAsked = options.kms && damage.length === 0 && manifest.keys.length > 0;
      if (isAsked) {
        const names = manifest.keys.map(({ name }) => name);
        problems.push(...(await unwrap(names, directory, options, outside)));
      }
      if (options.json) {
        const keys = manifest.keys.map(({ name, masterKeyArn, encryptionAlgorithm }) => ({
          keyId: name.id,
          keyVersion: name.version,
          masterKeyArn,
          encryptionAlgorithm,
        }));
        const { created, updated } = manifest;
        const ok = problems.length === 0;
        io.stdout(
          printableJson(
            { directory, ok, created, updated, keys, unwrapped: isAsked, problems: problemsAsJson(problems) },
            2,
          ),
          'prepared',
        );
      } else {
        printProblems(io, problems);
        const found = `${directory}: ${describeVersions(manifest, 'key versions')} of ${manifest.updated}`;
        if (problems.length > 0)
          io.stdout(`${found}: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`);
        else if (manifest.unencryptedFiles !== undefined)
          io.stdout(`${found}: no key is needed: none of ${manifest.unencryptedFiles} data files was encrypted then`);
        else io.stdout(`${found}: all there and unchanged${isAsked ? ', and KMS opens each' : '; KMS was not asked'}`);
      }
      io.exit(problems.length === 0 ? 0 : FAILED);
    });
}

/** Reports a backup without keys: its source may have been a directory whose file system was not mounted. */
function emptiness(directory: string, { keys, unencryptedFiles }: Manifest): readonly KeyError[] {
  if (keys.length > 0 || unencryptedFiles !== undefined) return [];
  return [
    new KeyError('KEY_FILE_MISSING', `the manifest in ${directory} names no key`, {
      hint: 'nothing that is encrypted can be restored with it: run backup-keys again, from the directory of the keys of the server',
    }),
  ];
}

async function unwrap(
  names: Parameters<typeof unwrapBackup>[1],
  directory: string,
  options: VerifyBackupOptions,
  surroundings: Surroundings,
): Promise<readonly KeyError[]> {
  const variables = {
    region: options.region,
    endpoint_url: options.endpointUrl,
    encryption_context: options.encryptionContext,
  };
  const server = await asKeyOwner(await readServer(options, { variables }, surroundings), surroundings);
  // The environment is completed before anything connects, because the credential chain reads it.
  const isRootForRoot = surroundings.uid === 0 && server.account.uid === 0;
  adoptEnvironment(surroundings.environment, server.service, isRootForRoot);
  const kms = await surroundings.connectKms(kmsTarget(surroundings, server, CALL_MS));
  const deadline = startDeadline(surroundings.clock, UNWRAP_MS);
  try {
    const caller = new OperatorCaller(kms, surroundings);
    const problems = await unwrapBackup(
      directory,
      names,
      { disk: diskOf(surroundings), caller, context: server.context },
      deadline,
    );
    return problems.map(withoutSecrets);
  } finally {
    deadline.cancel();
    kms.close();
  }
}
