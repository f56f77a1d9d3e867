import { resolve } from 'node:path';
import { Command } from 'commander';
import { wipe } from '../bytes.ts';
import { createNewFile } from '../disk/new-file.ts';
import { KeyError } from '../errors.ts';
import { assertRecipients, encryptFor } from '../escrow/age.ts';
import { collectKeys } from '../escrow/collect.ts';
import { type EscrowedKey, formatCopy } from '../escrow/copy.ts';
import { openStore } from '../keystore/open-store.ts';
import { OperatorCaller } from '../kms/operator-caller.ts';
import { RequestIds } from '../kms/request-ids.ts';
import { printableJson } from '../printable.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { type AuditLogOptions, audited, withAuditLog } from './audited.ts';
import { FAILED } from './exit-status.ts';
import { connectAsCaller, type PlaceOptions, type ServerKeys, serverKeysOf, withKeyPlace } from './key-commands.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { progressLine } from './progress-line.ts';
import { withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface EscrowOptions extends PlaceOptions, AuditLogOptions {
  readonly recipient: readonly string[];
  readonly to: string;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const HELP = `
Example:
  mariadb-aws-kms escrow --recipient age1… --to keys.age --yes

Exit status:
  0  written
  1  a key did not open, or the file cannot be written: nothing was written
  2  bad usage
  4  written, and the audit log has no outcome

AWS actions: kms:Decrypt on the master keys; none with --dry-run`;

/** `mariadb-aws-kms escrow`. @throws KeyError BAD_OPTION, STORE_UNAVAILABLE, KEY_FILE_MISSING, AUDIT_LOG_UNUSABLE */
export function escrowCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withAuditLog(withKeyPlace(new Command('escrow')))
    .description('write a copy of all data keys that opens without KMS, encrypted for offline identities of age')
    .requiredOption(
      '--recipient <recipient>',
      'age recipient that can open the copy: age1…, or age1pq1… against quantum computers (repeatable)',
      (recipient: string, before: readonly string[] = []) => [...before, recipient],
    )
    .requiredOption('--to <file>', 'new file for the copy')
    .option('--yes', 'confirm that whoever has an identity of a recipient can read all data of the server')
    .option('--dry-run', 'check the recipients, count the keys, and write nothing')
    .option('--json', 'print the result as JSON: { ok, file, directory, recipients, versions, dryRun, problems }')
    .option('--quiet', 'print problems only')
    .addHelpText('after', HELP)
    .action(async (options: EscrowOptions) => {
      const outside = surroundings();
      await assertRecipients(options.recipient);
      if (options.yes !== true && options.dryRun !== true) {
        throw new KeyError('BAD_OPTION', 'whoever has an identity of a recipient can read all data of the server', {
          hint: 'keep the identities offline, and say --yes',
        });
      }
      const keys = await serverKeysOf(options, outside);
      if (options.dryRun === true) {
        const { directory, named } = keys.place;
        const { stored } = await openStore(directory, diskOf(outside), named).list();
        report(io, options, directory, { versions: stored.length, problems: [] }, 0);
        return;
      }
      const file = resolve(options.to);
      const about = { directory: keys.place.directory, file, recipients: options.recipient };
      const { value, statusOf } = await audited({ io, outside, options }, 'escrow', about, async () => {
        const { requestIds, ...written } = await write(options, keys, file, outside, io);
        const facts = { versions: written.versions, problems: written.problems.map(({ message }) => message) };
        const outcome = written.problems.length === 0 ? 'done' : 'failed';
        return { outcome, facts, kmsRequestIds: requestIds, value: written };
      });
      report(io, options, keys.place.directory, value, statusOf(value.problems.length === 0 ? 0 : FAILED));
    });
}

interface Written {
  readonly versions: number;
  readonly problems: readonly KeyError[];
}

async function write(
  { recipient }: EscrowOptions,
  { server, place }: ServerKeys,
  file: string,
  outside: Surroundings,
  io: CliIo,
): Promise<Written & { readonly requestIds: readonly string[] }> {
  const stop = new AbortController();
  const forget = io.onSignal(() => stop.abort());
  const show = progressLine(io, outside.clock);
  const opened = new RequestIds('Decrypt');
  // The name is taken before any key is opened.
  const copy = createNewFile(file, outside.random);
  let keys: readonly EscrowedKey[] = [];
  try {
    const kms = await connectAsCaller(server, outside);
    try {
      const found = await collectKeys({
        store: openStore(place.directory, diskOf(outside), place.named),
        kms: new OperatorCaller(kms, outside, opened),
        context: server.context,
        clock: outside.clock,
        progress: (done, all) => show(() => `${done} of ${all} key versions`),
        signal: stop.signal,
      });
      io.redraw?.('');
      if (found.problems.length > 0) return { versions: 0, problems: found.problems, requestIds: opened.ids };
      keys = found.keys;
    } finally {
      kms.close();
    }
    const time = new Date(outside.clock.wallMs()).toISOString();
    const text = formatCopy(keys, [`${time} mariadb-aws-kms ${outside.release}`, JSON.stringify(place.directory)]);
    try {
      copy.write(await encryptFor(recipient, text), 0);
    } finally {
      wipe(text);
    }
    if (stop.signal.aborted) throw new KeyError('TIMEOUT', 'interrupted: nothing was written');
    await copy.complete();
    return { versions: keys.length, problems: [], requestIds: opened.ids };
  } finally {
    for (const { dataKey } of keys) wipe(dataKey);
    copy.close();
    forget();
  }
}

function report(
  io: CliIo,
  { to, recipient, dryRun, json, quiet }: EscrowOptions,
  directory: string,
  { versions, ...found }: Written,
  status: number,
): void {
  const problems = found.problems.map(withoutSecrets);
  const file = resolve(to);
  const ok = problems.length === 0;
  if (json === true) {
    const about = { ok, file, directory, recipients: recipient, versions, dryRun: dryRun ?? false };
    io.stdout(printableJson({ ...about, problems: problemsAsJson(problems) }, 2), 'prepared');
  } else {
    printProblems(io, problems, 'nothing was written: ');
    const count = `${versions} key ${versions === 1 ? 'version' : 'versions'}`;
    const whom = `${recipient.length} ${recipient.length === 1 ? 'recipient' : 'recipients'}`;
    if (ok && quiet !== true) {
      io.stdout(`${file}: ${count} of ${directory} ${dryRun === true ? 'would be ' : ''}written for ${whom}`);
      if (dryRun !== true) io.stdout(`Next: mariadb-aws-kms escrow-drill ${file} --identity FILE`);
    }
  }
  io.exit(status);
}
