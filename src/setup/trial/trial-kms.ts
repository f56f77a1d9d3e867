import { constants } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { readWhole } from '../../disk/files.ts';
import { KeyError } from '../../errors.ts';
import { TRIAL_UNIT } from '../../server/plugin-options.ts';
import type { Account, Surroundings } from '../../server/surroundings.ts';
import type { Site } from '../server-steps.ts';
import { reloadUnits, systemctl } from '../systemd.ts';
import { type Trial, trialCommand, trialFiles } from './trial-steps.ts';

/** Below the ports that Linux gives outgoing connections. */
const FIRST_PORT = 18_100;
const PORTS = 100;
const LISTENS_WITHIN_MS = 15_000;
const LOOK_MS = 50;
const MAX_PID_BYTES = 16;
const LOG_TAIL_BYTES = 65_536;

/** @throws KeyError SETUP_REFUSED */
export async function freePort(): Promise<number> {
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS; port += 1) if (await canListen(port)) return port;
  throw new KeyError('SETUP_REFUSED', `no port from ${FIRST_PORT} to ${FIRST_PORT + PORTS - 1} is free on 127.0.0.1`, {
    hint: 'find out what listens there: ss -ltnp',
  });
}

async function canListen(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once('error', () => resolve(false));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  return await promise;
}

export async function answersOn(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  return await promise.finally(() => socket.destroy());
}

/** Its output is the log, its process the one that the pid file names; a session of its own outlives this command. */
const START = `umask 077
cd "$1" || exit 1
shift
setsid "$@" >>kms.log 2>&1 </dev/null &
echo $! >kms.pid`;

/**
 * Starts the trial's KMS unless it runs, and waits until it listens.
 * @returns true if it was started
 * @throws KeyError SETUP_FAILED
 */
export async function startTrialKms(
  trial: Trial,
  account: Account,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<boolean> {
  const { site, port } = trial;
  const isRunning = await isTrialRunning(site, surroundings, signal);
  if (isRunning && (await answersOn(port))) return false;
  if (site.starter === 'systemd') {
    await reloadUnits(site.starter, surroundings, signal);
    await systemctl(surroundings, ['enable', '--now', TRIAL_UNIT], signal);
  } else {
    const command = ['-c', START, 'sh', site.paths.trialDirectory, ...trialCommand(trial)];
    const ran = await surroundings.run('sh', command, signal, account.uid === surroundings.uid ? undefined : account);
    if (ran?.code !== 0) throw notListening(site, port, ran?.stderr.trim() ?? 'there is no sh');
  }
  const { clock } = surroundings;
  for (const endMs = clock.monotonicMs() + LISTENS_WITHIN_MS; clock.monotonicMs() < endMs; ) {
    // A stranger who has the port answers as well.
    if ((await answersOn(port)) && (await isTrialRunning(site, surroundings, signal))) return true;
    await clock.sleep(LOOK_MS, signal);
  }
  throw notListening(site, port, await lastLine(site, surroundings));
}

/** Ends the trial's KMS and keeps it from starting again. @throws KeyError SETUP_FAILED */
export async function stopTrialKms(
  site: Site,
  account: Account,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  if (site.starter === 'systemd') {
    // It fails where the unit was never made.
    await surroundings.run('systemctl', ['disable', '--now', TRIAL_UNIT], signal);
    if (!(await isTrialRunning(site, surroundings, signal))) return;
    throw new KeyError('SETUP_FAILED', 'the KMS of the trial does not end', { hint: `systemctl stop ${TRIAL_UNIT}` });
  }
  const pid = await trialPid(site, surroundings);
  if (pid === undefined) return;
  // The user of the server may write the pid file, so the signal is sent with that user's rights.
  const as = account.uid === surroundings.uid ? undefined : account;
  await surroundings.run('sh', ['-c', 'kill "$1"', 'sh', String(pid)], signal, as);
  const { clock } = surroundings;
  for (const endMs = clock.monotonicMs() + LISTENS_WITHIN_MS; clock.monotonicMs() < endMs; ) {
    if ((await trialPid(site, surroundings)) === undefined) return;
    await clock.sleep(LOOK_MS, signal);
  }
  throw new KeyError('SETUP_FAILED', `the KMS of the trial (process ${pid}) does not end`, { hint: `kill -9 ${pid}` });
}

async function isTrialRunning(site: Site, surroundings: Surroundings, signal: AbortSignal): Promise<boolean> {
  if (site.starter !== 'systemd') return (await trialPid(site, surroundings)) !== undefined;
  return (await surroundings.run('systemctl', ['is-active', '--quiet', TRIAL_UNIT], signal))?.code === 0;
}

/** The process of the pid file, if it is the trial's KMS. */
export async function trialPid(site: Site, { files, paths }: Surroundings): Promise<number | undefined> {
  const { pid: pidFile, state } = trialFiles(site);
  const text = await readWhole(files.keyDirectory, pidFile, MAX_PID_BYTES).catch(() => Buffer.alloc(0));
  const pid = /^[1-9]\d{0,9}$/.exec(text.toString('utf8').trim())?.[0];
  if (pid === undefined) return undefined;
  const line = await files.readFile(join(paths.proc, pid, 'cmdline')).catch(() => Buffer.alloc(0));
  const words = line.toString('utf8').split('\0');
  return words.includes('dev-kms') && words.includes(state) ? Number(pid) : undefined;
}

async function lastLine(site: Site, { files }: Surroundings): Promise<string> {
  const { log } = trialFiles(site);
  const { O_RDONLY, O_NONBLOCK } = constants;
  try {
    const file = await files.keyDirectory.open(log, O_RDONLY | O_NONBLOCK);
    const text = (await file.readFile(LOG_TAIL_BYTES).finally(() => file.close())).toString('utf8');
    return text.trim().split('\n').at(-1) ?? '';
  } catch {
    return `see journalctl -u ${TRIAL_UNIT}`;
  }
}

function notListening(site: Site, port: number, reason: string): KeyError {
  const { log } = trialFiles(site);
  const hint =
    site.starter === 'systemd' ? `journalctl -u ${TRIAL_UNIT} -n 20` : `tail ${log}; is port ${port} taken? ss -ltn`;
  return new KeyError('SETUP_FAILED', `the KMS of the trial does not listen on port ${port}: ${reason}`, { hint });
}
