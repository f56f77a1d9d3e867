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
import { type KeySourceOptions, withDataKeys, withKeySource } from './key-source.ts';

interface AriaOptions extends KeySourceOptions {
  readonly to: string;
}

/** `mariadb-aws-kms decrypt aria`. @throws KeyError */
export function decryptAriaCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withKeySource(new Command('aria'))
    .description('decrypt Aria tables, each with its index, its rows and its definition')
    .argument('<file...>', 'the .MAI files; the .MAD and .frm files are beside them')
    .requiredOption('--to <directory>', 'directory for the copies')
    .addHelpText('after', '\nExample:\n  mariadb-aws-kms decrypt aria --to /restore/shop /backup/shop/orders.MAI')
    .action(async (files: readonly string[], options: AriaOptions) => {
      const outside = surroundings();
      const interrupted = new AbortController();
      const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted: nothing was finished')));
      try {
        await withDataKeys(io, options, outside, async (keys) => {
          for (const file of files) {
            const table = await decryptTable(file, options.to, outside, keys, interrupted.signal);
            for (const line of described(table)) io.stderr(`${file}: ${line}`);
          }
        });
      } finally {
        forget();
      }
    });
}

async function decryptTable(
  file: string,
  to: string,
  outside: Surroundings,
  keys: DataKeys,
  signal: AbortSignal,
): Promise<DecryptedAria> {
  const name = /^(.*)\.MA[ID]$/.exec(basename(file))?.[1];
  if (name === undefined) throw new KeyError('BAD_OPTION', `${file}: expected the .MAI file of a table`);
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
      const definition = create('frm');
      definition.write(await outside.files.readFile(from('frm')), 0);
      copies.push(definition);
    }
    completeAll(copies);
    return result;
  } finally {
    for (const close of closers) close();
  }
}

function described({ pages, versions, algorithm, wasOpen }: DecryptedAria): readonly string[] {
  const key = versions.length === 1 ? `version ${versions[0]}` : `versions ${versions.join(', ')}`;
  const lines = [pages === 0 ? 'no encrypted pages' : `${pages} pages, encrypted with key ${key} (${algorithm})`];
  if (wasOpen) lines.push('it was open when it was copied, so that the newest rows can be missing');
  return lines;
}
