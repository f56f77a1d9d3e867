import { resolve } from 'node:path';
import { Command } from 'commander';
import { wipe } from '../bytes.ts';
import { readSmallFile } from '../disk/small-file.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { decryptWith, identitiesIn } from '../escrow/age.ts';
import { type EscrowedKey, parseCopy } from '../escrow/copy.ts';
import { type Drilled, drill } from '../escrow/drill.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { openStore } from '../keystore/open-store.ts';
import { OperatorCaller } from '../kms/operator-caller.ts';
import { printableJson } from '../printable.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import { FAILED, INCOMPLETE } from './exit-status.ts';
import { connectAsCaller, type PlaceOptions, serverKeysOf, withKeyPlace } from './key-commands.ts';
import { printProblems, problemsAsJson } from './problems.ts';
import type { CliIo } from './process-io.ts';
import { progressLine } from './progress-line.ts';
import { processSecrets, withoutSecrets } from './system.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface DrillOptions extends PlaceOptions {
  readonly identity: string;
  /** False with --no-kms. */
  readonly kms: boolean;
  readonly offline?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const HELP = `
Example:
  mariadb-aws-kms escrow-drill keys.age --identity identity.txt

Exit status:
  0  the copy opens, and has every key of the server
  1  the copy does not open, lacks a key, or has another one
  2  bad usage
  3  a key could not be compared

AWS actions: kms:Decrypt on the master keys; none with --no-kms or --offline`;

/** @throws KeyError BAD_OPTION, KEY_FILE_CORRUPT, STORE_UNAVAILABLE */
export function escrowDrillCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeyPlace(new Command('escrow-drill'))
    .description('prove that an escrow copy opens, and that it has every data key of the server')
    .argument('<file>', 'the copy that escrow wrote')
    .requiredOption('--identity <file>', 'file with an identity of a recipient, as age-keygen writes it')
    .option('--no-kms', 'compare with the key check values of the sidecars only')
    .option('--offline', 'look at the copy only, on a machine without the server')
    .option('--json', 'print the result as JSON: { ok, file, keys, proven, lacking, more, problems, unseen }')
    .option('--quiet', 'print problems only')
    .addHelpText('after', HELP)
    .action(async (path: string, options: DrillOptions) => {
      const outside = surroundings();
      const file = resolve(path);
      const identities = identitiesIn((await read(resolve(options.identity), '--identity')).toString('utf8'));
      processSecrets.add(...identities);
      const text = await decryptWith(identities, await read(file, 'the copy'));
      let keys: readonly EscrowedKey[];
      try {
        keys = parseCopy(text);
      } finally {
        wipe(text);
      }
      try {
        const found = options.offline === true ? undefined : await compare(keys, options, outside, io);
        report(io, options, file, keys, found);
      } finally {
        for (const { dataKey } of keys) wipe(dataKey);
      }
    });
}

const MOST_BYTES = 268_435_456;

async function read(path: string, what: string): Promise<Buffer> {
  return await readSmallFile(path, MOST_BYTES).catch((cause: unknown) => {
    const reason = systemErrorCode(cause) ?? String(cause);
    throw new KeyError('BAD_OPTION', `${what}: cannot read ${path}: ${reason}`, { cause });
  });
}

async function compare(
  keys: readonly EscrowedKey[],
  options: DrillOptions,
  outside: Surroundings,
  io: CliIo,
): Promise<Drilled> {
  const { server, place } = await serverKeysOf(options, outside);
  const show = progressLine(io, outside.clock);
  const kms = options.kms ? await connectAsCaller(server, outside) : undefined;
  try {
    const found = await drill(keys, {
      store: openStore(place.directory, diskOf(outside), place.named),
      kms: kms && new OperatorCaller(kms, outside),
      context: server.context,
      clock: outside.clock,
      progress: (done, all) => show(() => `${done} of ${all} key versions`),
    });
    io.redraw?.('');
    return found;
  } finally {
    kms?.close();
  }
}

const NONE: Drilled = { proven: 0, lacking: [], more: [], problems: [], unseen: [] };

function report(
  io: CliIo,
  { json, quiet }: DrillOptions,
  file: string,
  keys: readonly EscrowedKey[],
  found: Drilled | undefined,
): void {
  const { proven, lacking, more, ...errors } = found ?? NONE;
  const problems = [...errors.problems, ...lacking.map(lacks)].map(withoutSecrets);
  const unseen = errors.unseen.map(withoutSecrets);
  const status = problems.length > 0 ? FAILED : unseen.length > 0 ? INCOMPLETE : 0;
  if (json === true) {
    const listed = (names: readonly KeyName[]) => names.map(({ id, version }) => ({ keyId: id, keyVersion: version }));
    const lists = { keys: listed(keys.map(({ name }) => name)), proven, lacking: listed(lacking), more: listed(more) };
    const told = { problems: problemsAsJson(problems), unseen: problemsAsJson(unseen) };
    io.stdout(printableJson({ ok: status === 0, file, ...lists, ...told }, 2), 'prepared');
  } else {
    printProblems(io, problems);
    printProblems(io, unseen, 'not compared: ');
    if (quiet !== true) {
      const against = found === undefined ? 'not compared with a server' : `${proven} proven to be the server's`;
      const others = more.length === 0 ? '' : `, ${more.length} not stored here any more`;
      io.stdout(
        `${file}: opens: ${keys.length} key ${keys.length === 1 ? 'version' : 'versions'}, ${against}${others}`,
      );
    }
  }
  io.exit(status);
}

function lacks(name: KeyName): KeyError {
  return new KeyError('KEY_UNKNOWN', `the copy lacks ${describeKey(name)}`, {
    hint: 'it was made before that version: make a new one with mariadb-aws-kms escrow',
  });
}
