import { basename, dirname, join } from 'node:path';
import { Command } from 'commander';
import { openData } from '../../data/open-data.ts';
import { type DecryptedAria, decryptAria } from '../../decrypt/aria.ts';
import type { DataKeys } from '../../decrypt/data-keys.ts';
import { completeAll, createNewFile, type NewFile } from '../../disk/new-file.ts';
import { KeyError } from '../../errors.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import type { CliIo } from '../process-io.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { decryptEach, type EachFileOptions, type FileResult } from './each-file.ts';
import { withKeySource } from './key-source.ts';

interface AriaOptions extends EachFileOptions {
  readonly to: string;
}

/** Bytes; the server reads no .frm file of more than a mebibyte. */
const MOST_DEFINITION = 2 ** 20;

const HELP = `
Exit status:
  0  every table is in clear in its copy
  1  a table was not copied
  2  bad usage`;
const EXAMPLE = `
Example:
  mariadb-aws-kms decrypt aria --to /restore/shop /backup/shop/orders.MAI`;

/** `mariadb-aws-kms decrypt aria`. @throws KeyError */
export function decryptAriaCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeySource(new Command('aria'))
    .description('decrypt Aria tables, each with its index, its rows and its definition')
    .argument('<file...>', 'the .MAI files; the .MAD and .frm files are beside them')
    .requiredOption('--to <directory>', 'directory for the copies')
    .option('--json', 'print the result as JSON: { ok, files, problems }')
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLE)
    .action(async (files: readonly string[], options: AriaOptions) => {
      const outside = surroundings();
      await decryptEach(io, options, outside, {
        files: tablesOf(files),
        toStdout: false,
        decrypt: async (file, _, keys, signal) =>
          resultOf(file, join(options.to, basename(file)), await decryptTable(file, options.to, outside, keys, signal)),
      });
    });
}

/** Returns the .MAI file of each table once; `a.*` names its other files, too. @throws KeyError BAD_OPTION */
function tablesOf(files: readonly string[]): readonly string[] {
  const tables = new Set<string>();
  for (const file of files) {
    const table = /^(.*)\.(?:MA[ID]|frm)$/.exec(file)?.[1];
    if (table === undefined) throw new KeyError('BAD_OPTION', `${file}: expected the .MAI file of a table`);
    tables.add(`${table}.MAI`);
  }
  return [...tables];
}

async function decryptTable(
  file: string,
  to: string,
  outside: Surroundings,
  keys: DataKeys,
  signal: AbortSignal,
): Promise<DecryptedAria> {
  const name = basename(file, '.MAI');
  const { data } = outside.files;
  const from = (ending: string): string => join(dirname(file), `${name}.${ending}`);
  const closers: (() => void)[] = [];
  const kept = <T extends { close(): void }>(opened: T): T => {
    closers.push(() => opened.close());
    return opened;
  };
  try {
    const source = { index: kept(openData(data, from('MAI'))), data: kept(openData(data, from('MAD'))) };
    const create = (ending: string): NewFile => kept(createNewFile(join(to, `${name}.${ending}`), outside.random));
    const copy = { index: create('MAI'), data: create('MAD') };
    const result = await decryptAria(file, source, copy, keys, signal);
    const copies = [copy.data, copy.index];
    if (data.isThere(from('frm'))) {
      const definition = kept(openData(data, from('frm')));
      if (definition.bytes > MOST_DEFINITION)
        throw new KeyError('DATA_UNREADABLE', `${from('frm')}: it is too long for the definition of a table`);
      const target = create('frm');
      target.write(definition.read(0, definition.bytes), 0);
      copies.push(target);
    }
    await completeAll(copies);
    return result;
  } finally {
    for (const close of closers) close();
  }
}

function resultOf(file: string, output: string, { pages, versions, algorithm, wasOpen }: DecryptedAria): FileResult {
  const key = versions.length === 1 ? `version ${versions[0]}` : `versions ${versions.join(', ')}`;
  return {
    file,
    output,
    summary: pages === 0 ? 'no encrypted pages' : `${pages} pages, encrypted with key ${key} (${algorithm})`,
    facts: { pages, keyVersions: versions, algorithm, wasOpen },
    notes: wasOpen ? ['it was open when it was copied, so that the newest rows can be missing'] : [],
    isCut: false,
  };
}
