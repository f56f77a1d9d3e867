import type { Command } from 'commander';
import { KeyError } from '../errors.ts';

export interface OptionFileOptions {
  readonly defaultsFile?: string;
  readonly defaultsExtraFile?: string;
  /** False with --no-defaults. */
  readonly defaults: boolean;
  readonly group: readonly string[];
}

/** Adds the server's own options for option files. */
export function withOptionFiles(command: Command): Command {
  return command
    .option('--defaults-file <file>', "read the server's options from this file only")
    .option('--defaults-extra-file <file>', 'read this option file after the default ones')
    .option('--no-defaults', 'read no option file')
    .option(
      '--group <name>',
      'read this group of the option files as well (repeatable)',
      (name, before: string[]) => [...before, name],
      [],
    );
}

/** Returns the first argument for my_print_defaults. @throws KeyError BAD_OPTION */
export function defaultsOf({
  defaultsFile,
  defaultsExtraFile,
  defaults,
  group,
}: OptionFileOptions): string | undefined {
  const sources = [
    ...(defaultsFile === undefined ? [] : [`--defaults-file=${defaultsFile}`]),
    ...(defaultsExtraFile === undefined ? [] : [`--defaults-extra-file=${defaultsExtraFile}`]),
    ...(defaults ? [] : ['--no-defaults']),
  ];
  if (sources.length > 1) {
    throw new KeyError('BAD_OPTION', `${sources.join(' and ').replaceAll(/=\S+/g, '')}: only one of them at a time`);
  }
  if (!defaults && group.length > 0) {
    throw new KeyError('BAD_OPTION', '--group needs option files, and --no-defaults reads none');
  }
  return sources[0];
}
