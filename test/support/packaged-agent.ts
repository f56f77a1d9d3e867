import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

/** Starts an executable as an agent of its own in mock mode, and ends it. `scratch` gets the directories `run` and `keys`. */
export async function expectAgentStarts(executable: string, scratch: string): Promise<void> {
  const socket = join(scratch, 'run/agent.sock');
  const keys = join(scratch, 'keys');
  mkdirSync(join(scratch, 'run'), { mode: 0o700 });
  mkdirSync(keys, { mode: 0o700 });
  const options = ['agent', '--listen', socket, '--keyfile-dir', keys, '--mock'];
  const agent = spawn(executable, options, { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    const [said]: Buffer[] = await once(agent.stderr, 'data');
    expect(String(said)).toMatch(/^mariadb-aws-kms: agent \S+ listens on .*\/run\/agent\.sock\n$/);
    expect(statSync(socket).isSocket()).toBe(true);
    const ended = once(agent, 'exit');
    agent.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  } finally {
    agent.kill('SIGKILL');
  }
}
