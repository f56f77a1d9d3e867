import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { childrenOf } from './children.ts';
import { AGENT, type ScratchServer } from './scratch-server.ts';

/** A stand-in for `aws_key_management_agent` that starts the real agent in a changeable environment. */
export class AgentLauncher {
  readonly path: string;
  readonly #control: string;

  /** @param directory must be readable by the server's user */
  constructor(directory: string) {
    this.path = join(directory, 'agent');
    this.#control = join(directory, 'agent-prefix');
    this.prefix('');
    writeFileSync(this.path, `#!/bin/sh\nread -r prefix <${this.#control}\nexec $prefix ${AGENT} "$@"\n`, {
      mode: 0o755,
    });
  }

  /** Sets the command prefix of the agent from its next start on, such as `prlimit --nofile=64`. */
  prefix(command: string): void {
    writeFileSync(this.#control, `${command}\n`);
  }
}

/**
 * A prefix that makes system calls fail: strace's option `inject`, such as `fsync:error=EIO`. It counts the calls of
 * each thread.
 */
export function failingCall(inject: string): string {
  return `env UV_THREADPOOL_SIZE=1 strace -f --seccomp-bpf -qq -o /dev/null -e inject=${inject}`;
}

/** Ends the agent itself and not strace, which would leave it running. Returns when the server has noticed. */
export async function endAgent(server: ScratchServer): Promise<void> {
  for (const pid of childrenOf(server.pid)) {
    for (const agent of [...childrenOf(pid), pid].slice(0, 1)) process.kill(agent, 'SIGKILL');
  }
  for (let waits = 0; childrenOf(server.pid).length > 0; waits += 1) {
    if (waits === 500) throw new Error('the server does not notice that its agent has ended');
    await pause(20);
  }
}
