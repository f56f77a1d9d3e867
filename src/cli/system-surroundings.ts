import { execFile } from 'node:child_process';
import { readFile, realpath, stat, statfs } from 'node:fs/promises';
import { nodeDataFiles } from '../data/data-files.ts';
import { type CommandResult, type RunCommand, type Surroundings, SYSTEM_PATHS } from '../doctor/surroundings.ts';
import { systemErrorCode } from '../errors.ts';
import { createKmsInspector } from '../kms/inspect.ts';
import { commandFileSystem } from './file-service.ts';
import { processSecrets, systemClock } from './system.ts';
import { trustedCertificates } from './trusted-certificates.ts';
import { VERSION } from './version.ts';

const MAX_OUTPUT_BYTES = 4 * 2 ** 20;

/** This machine, for commands that look at a server from outside. */
export function systemSurroundings(): Surroundings {
  return {
    release: VERSION,
    architecture: process.arch,
    clock: systemClock,
    random: Math.random,
    files: { keyDirectory: commandFileSystem(), data: nodeDataFiles, stat, readFile, realpath, statfs },
    run: runCommand,
    paths: SYSTEM_PATHS,
    environment: process.env,
    uid: process.getuid?.() ?? 0,
    connectKms: (target) => {
      // It may have been given what the server's has.
      processSecrets.addEnvironment(process.env);
      return createKmsInspector({
        ...target,
        environment: process.env,
        trustedCertificates: trustedCertificates(process.env),
        secrets: processSecrets,
        wallMs: systemClock.wallMs,
      });
    },
  };
}

/** An ordinary user's PATH has no sbin, where mariadbd is. */
const runCommand: RunCommand = (program, commandArguments, signal, as) => {
  const env = {
    ...process.env,
    PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/libexec`,
    LC_ALL: 'C',
    ...(as === undefined ? {} : { HOME: as.home }),
  };
  const options = {
    env,
    signal,
    maxBuffer: MAX_OUTPUT_BYTES,
    ...(as === undefined ? {} : { uid: as.uid, gid: as.gid }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult | undefined>();
  execFile(program, [...commandArguments], options, (error, stdout, stderr) => {
    if (error === null) resolve({ code: 0, stdout, stderr });
    else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
    else if (systemErrorCode(error) === 'ENOENT') resolve(undefined);
    else if (signal.aborted) reject(error);
    else resolve({ code: -1, stdout, stderr: stderr || error.message });
  });
  return promise;
};
