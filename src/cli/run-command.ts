import { type Command, CommanderError } from 'commander';
import { KeyError } from '../errors.ts';
import { BAD_USAGE } from './exit-status.ts';
import { failureAsJson } from './problems.ts';
import { processIo } from './process-io.ts';
import { emptyProgram, prepared } from './program.ts';

/** @throws what the command throws */
export async function runCommand(argv: readonly string[]): Promise<void> {
  const [, , verb = '', subject] = argv;
  const program = await programFor(verb);
  try {
    // For an unknown command, Commander's `help` prints the general help and no error.
    if (verb === 'help' && subject !== undefined && subject !== 'help' && !isCommand(program, subject)) {
      program.error(`error: unknown command '${subject}'`);
    }
    await program.parseAsync(argv);
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    process.exitCode = thrown.exitCode === 0 ? 0 : BAD_USAGE;
    if (thrown.exitCode === 0) return;
    // Commander has printed its message already.
    const json = failureAsJson(argv, new KeyError('BAD_OPTION', thrown.message.replace(/^error: /, '')));
    if (json !== undefined) processIo.stdout(json, 'prepared');
  }
}

/**
 * Loads the verbs that read data files without the modules of all others, which would take longer than their work on a
 * small server.
 */
async function programFor(verb: string): Promise<Command> {
  switch (verb) {
    case 'audit':
      return only((await import('./audit.ts')).auditCommand(processIo));
    case 'decrypt':
      return only((await import('./decrypt/kinds.ts')).decryptKindsCommand(processIo));
    case 'verify-data':
      return only((await import('./verify-data.ts')).verifyDataCommand(processIo));
    default:
      return (await import('./commands.ts')).createProgram();
  }
}

function only(verb: Command): Command {
  return emptyProgram().addCommand(prepared(verb));
}

function isCommand(program: Command, name: string): boolean {
  return name.startsWith('-') || program.commands.some((command) => command.name() === name);
}
