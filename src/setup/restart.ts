import { KeyError } from '../errors.ts';
import type { Configuration } from '../server/configuration.ts';
import { PREFIX } from '../server/plugin-options.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { askRunningServer } from './ask-server.ts';
import { runDetached, type Starter, serverCommand, unitOf, type Verb } from './starter.ts';

const SHOWN_LINES = 6;
/** A server that has just been started may not take connections yet. */
const ANSWERS_WITHIN_MS = 30_000;
const LOOK_MS = 200;

export interface Start {
  readonly verb: Exclude<Verb, 'stop'>;
  readonly starter: Starter;
  /** True: the plugin must be active; false: it must not. */
  readonly hasPlugin: boolean;
}

/**
 * Starts or restarts the server and waits until it answers.
 * @throws KeyError SETUP_FAILED with the server's own words
 */
export async function startServer(
  configuration: Configuration,
  { verb, starter, hasPlugin }: Start,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const command = serverCommand(verb, starter, configuration, surroundings);
  if (command === undefined) throw new KeyError('INTERNAL', 'nothing here starts the server');
  const { code, stdout } = await runDetached(command, surroundings, signal);
  const { defaults } = configuration.request;
  const { clock } = surroundings;
  const endMs = clock.monotonicMs() + ANSWERS_WITHIN_MS;
  for (;;) {
    const state = await askRunningServer(surroundings, defaults, signal);
    // With FORCE_PLUS_PERMANENT a server that answers has the plugin, also where root may not log in.
    if (state.answers === 'unknown' && code === 0) return;
    if (state.answers === 'yes' && state.encryptionPlugins.includes(PREFIX) === hasPlugin) return;
    if (code !== 0 || state.answers === 'yes' || clock.monotonicMs() >= endMs) {
      const found =
        state.answers === 'yes'
          ? `the server runs ${hasPlugin ? 'without the plugin' : 'still with the plugin'}`
          : 'the server does not run';
      const words = await lastWords(configuration, starter, surroundings, signal);
      const said = [...words, ...stdout.trim().split('\n').slice(-2)].filter((line) => line.trim() !== '');
      throw new KeyError(
        'SETUP_FAILED',
        `${found} after "${command.join(' ')}" (status ${code})${said.length === 0 ? '' : `: ${said.join(' | ')}`}`,
        {
          hint: logHint(configuration, starter),
        },
      );
    }
    await clock.sleep(LOOK_MS, signal);
  }
}

/** Stops the server in an orderly way, so that its files tell everything. @throws KeyError SETUP_FAILED */
export async function stopServer(
  configuration: Configuration,
  starter: Starter,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const command = serverCommand('stop', starter, configuration, surroundings);
  if (command === undefined) throw new KeyError('INTERNAL', 'nothing here stops the server');
  const { code, stdout } = await runDetached(command, surroundings, signal);
  if (code === 0) return;
  throw new KeyError('SETUP_FAILED', `"${command.join(' ')}" failed (status ${code}): ${stdout.trim()}`, {
    hint: logHint(configuration, starter),
  });
}

/** The errors in the server's log, where it can be found. */
async function lastWords(
  configuration: Configuration,
  starter: Starter,
  { run }: Surroundings,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const log = configuration.options.last('log_error');
  const shown =
    starter === 'systemd'
      ? await run('journalctl', ['-u', unitOf(configuration), '-n', '60', '-o', 'cat', '--no-pager'], signal)
      : log?.startsWith('/') === true
        ? await run('tail', ['-n', '60', log], signal)
        : undefined;
  const errors = (shown?.stdout ?? '').split('\n').filter((line) => line.includes('[ERROR]'));
  return errors.slice(-SHOWN_LINES).map((line) => line.replace(/^.*?\[ERROR\] /, ''));
}

function logHint(configuration: Configuration, starter: Starter): string {
  const log = configuration.options.last('log_error');
  if (log?.startsWith('/') === true) return `look at the server's log: tail -n 50 ${log}`;
  if (starter === 'systemd') return `look at the server's log: journalctl -u ${unitOf(configuration)} -n 50`;
  return "look at the server's log: the system log, or the file that log_error names";
}
