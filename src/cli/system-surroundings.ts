import { execFile } from 'node:child_process';
import { realpath, stat, statfs } from 'node:fs/promises';
import { isSea } from 'node:sea';
import { nodeDataFiles } from '../data/data-files.ts';
import { readSmallFile } from '../disk/small-file.ts';
import { systemErrorCode } from '../errors.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import { passedOn } from '../server/service/server-environment.ts';
import {
  type CommandResult,
  type KmsTarget,
  pathsOfInstalled,
  type RunCommand,
  type Surroundings,
  SYSTEM_PATHS,
} from '../server/surroundings.ts';
import { commandFileSystem } from './file-service.ts';
import { refuseFilesOfOthers } from './own-files.ts';
import { SAFE_PATH } from './server-user.ts';
import { processSecrets, systemClock, systemRandom } from './system.ts';
import { VERSION } from './version.ts';

const MAX_OUTPUT_BYTES = 4 * 2 ** 20;
/** The plugin library is the largest file that is read whole. */
const MAX_FILE_BYTES = 64 * 2 ** 20;
const NO_FILE = '/dev/null';

/** The real machine, for commands that examine a server from outside. */
export function systemSurroundings(): Surroundings {
  const uid = process.getuid?.() ?? 0;
  // The server's variables are added to this copy. They reach the SDK in this process only where that is safe.
  const environment = { ...process.env };
  return {
    release: VERSION,
    architecture: process.arch,
    clock: systemClock,
    random: systemRandom,
    files: {
      keyDirectory: commandFileSystem(),
      data: nodeDataFiles,
      stat,
      readFile: (path) => readSmallFile(path, MAX_FILE_BYTES),
      realpath,
      statfs,
    },
    run: runCommand,
    paths: isSea() ? pathsOfInstalled(process.execPath) : SYSTEM_PATHS,
    environment,
    uid,
    connectKms: async (target) => {
      processSecrets.addEnvironment(environment);
      if (target.as !== undefined) return await connectAsServer(target, target.as, environment);
      await refuseFilesOfOthers(environment, uid);
      Object.assign(process.env, environment);
      const { createKmsInspector } = await import('../kms/aws/inspector.ts');
      const { trustedCertificates } = await import('../kms/aws/trusted-certificates.ts');
      return await createKmsInspector({
        ...target,
        environment,
        trustedCertificates: trustedCertificates(environment),
        secrets: processSecrets,
        clock: systemClock,
      });
    },
    connectServer: async (target, signal) => {
      processSecrets.add(target.password);
      // The connector is large, and most verbs need no server.
      const { connectServer } = await import('../sql/connect.ts');
      return await connectServer(target, signal);
    },
  };
}

/**
 * Connects with the settings that a process of the server's user found. No file that this user could have written is
 * read or run here.
 */
async function connectAsServer(
  target: KmsTarget,
  account: NonNullable<KmsTarget['as']>,
  environment: NodeJS.ProcessEnv,
): Promise<KmsInspector> {
  const { askServerIdentity } = await import('./server-identity.ts');
  const server = await askServerIdentity(target, account, passedOn(environment));
  const { way } = server;
  const sts = environment['AWS_ENDPOINT_URL_STS'];
  // The SDK's clients would read settings from the shared files.
  const own = {
    ...withoutAws(environment),
    ...(sts ? { AWS_ENDPOINT_URL_STS: sts } : {}),
    AWS_SHARED_CREDENTIALS_FILE: NO_FILE,
    AWS_CONFIG_FILE: NO_FILE,
  };
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  Object.assign(process.env, own);
  const { createKmsInspector } = await import('../kms/aws/inspector.ts');
  const inspector = await createKmsInspector({
    ...target,
    region: way.region,
    endpointUrl: way.endpointUrl,
    sharedFiles: undefined,
    environment: own,
    trustedCertificates: way.certificates === undefined ? undefined : [way.certificates],
    secrets: processSecrets,
    clock: systemClock,
    found: {
      endpointFrom: way.endpointFrom,
      usesFips: way.usesFips,
      usesDualstack: way.usesDualstack,
      credentials: async () => {
        const { accessKeyId, secretAccessKey, sessionToken, expiresMs, marks } = await server.identity();
        return {
          accessKeyId,
          secretAccessKey,
          ...(sessionToken === undefined ? {} : { sessionToken }),
          ...(expiresMs === undefined ? {} : { expiration: new Date(expiresMs) }),
          $source: Object.fromEntries(marks.map((mark) => [mark, '1'])),
        };
      },
    },
  });
  return {
    ...inspector,
    close: () => {
      server.close();
      inspector.close();
    },
  };
}

/**
 * Programs that are asked about the server get no AWS credentials, and those of another user nothing of our
 * environment.
 */
const runCommand: RunCommand = (program, commandArguments, signal, as) => {
  const env = {
    ...(as === undefined ? withoutAws(process.env) : { HOME: as.home }),
    PATH: programPath(process.env['PATH']),
    LC_ALL: 'C',
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

function withoutAws(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('AWS_')));
}

/**
 * The search path of an ordinary user lacks sbin, where mariadbd is. Empty or relative parts would mean the current
 * directory, and are dropped.
 */
export function programPath(path: string | undefined): string {
  const parts = (path ?? '').split(':').filter((part) => part.startsWith('/'));
  return [...new Set([...parts, ...SAFE_PATH.split(':'), '/usr/libexec'])].join(':');
}
