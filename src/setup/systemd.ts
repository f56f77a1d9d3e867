import { KeyError } from '../errors.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { Starter } from './starter.ts';

type Run = Pick<Surroundings, 'run'>;

/** Runs systemctl, which has to succeed. @throws KeyError SETUP_FAILED */
export async function systemctl({ run }: Run, words: readonly string[], signal: AbortSignal): Promise<void> {
  const ran = await run('systemctl', words, signal);
  if (ran?.code === 0) return;
  const line = ['systemctl', ...words].join(' ');
  const reason = ran === undefined ? 'there is no systemctl' : ran.stderr.trim() || `status ${ran.code}`;
  throw new KeyError('SETUP_FAILED', `"${line}" failed: ${reason}`, { hint: `try it by hand: ${line}` });
}

/** Has systemd read changed units, where it starts the server. @throws KeyError SETUP_FAILED */
export async function reloadUnits(starter: Starter, outside: Run, signal: AbortSignal): Promise<void> {
  if (starter === 'systemd') await systemctl(outside, ['daemon-reload'], signal);
}
