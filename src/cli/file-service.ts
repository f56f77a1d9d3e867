import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { Command } from 'commander';
import { CarefulFileSystem } from '../disk/careful-file-system.ts';
import {
  type Channel,
  channelOver,
  FileServiceClient,
  type RemoteFileSystem,
  refuseFiles,
  serveFiles,
} from '../disk/file-service.ts';
import { type FileSystem, nodeFileSystem } from '../disk/file-system.ts';
import type { PlaceOwner } from '../disk/place-owner.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import { isSocket } from './inherited-socket.ts';
import { ownProgram } from './own-program.ts';
import { becomeUser } from './server-user.ts';
import { systemClock } from './system.ts';

const VERB = 'file-service';
const DESCRIPTOR = 3;

/** The file system for key directories and backups of commands. */
export function commandFileSystem(): FileSystem {
  return process.getuid?.() === 0 ? new CarefulFileSystem(actAs) : nodeFileSystem;
}

/** Starts this program once more, without this process's environment. */
function actAs({ uid, gid }: PlaceOwner): RemoteFileSystem {
  const [program, ...own] = ownProgram();
  const child = spawn(program, [...own, VERB, `${uid}`, `${gid}`], {
    env: {},
    cwd: '/',
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  child.unref();
  const stream = child.stdio[DESCRIPTOR];
  if (!(stream instanceof Socket)) throw new KeyError('INTERNAL', `${VERB}: no pair of sockets`);
  child.once('error', () => stream.destroy());
  // SIGKILL also ends a process that has been stopped.
  stream.once('close', () => child.kill('SIGKILL'));
  return new FileServiceClient(whileAwaited(stream), `user ${uid}`, systemClock);
}

/** The channel keeps this process alive only while an answer is awaited. */
function whileAwaited(stream: Socket): Channel {
  const channel = channelOver(stream);
  let awaited = 0;
  stream.unref();
  return {
    ...channel,
    send: (message) => {
      awaited += 1;
      stream.ref();
      channel.send(message);
    },
    onMessage: (listener) =>
      channel.onMessage((message) => {
        awaited -= 1;
        if (awaited === 0) stream.unref();
        listener(message);
      }),
  };
}

/** `mariadb-aws-kms file-service`, an internal command that root's commands start. */
export function fileServiceCommand(): Command {
  return new Command(VERB)
    .argument('<uid>')
    .argument('<gid>')
    .action((uid: string, gid: string) => {
      if (!isSocket(DESCRIPTOR)) throw new KeyError('BAD_OPTION', `${VERB} is for this program itself`);
      const user = { uid: idOf(uid), gid: parseDecimal(gid) ?? 0 };
      const channel = channelOver(new Socket({ fd: DESCRIPTOR, readable: true, writable: true }));
      channel.onClose(() => process.exit(0));
      try {
        becomeUser(process, user);
      } catch (error) {
        refuseFiles(channel, systemErrorCode(error) ?? (error instanceof Error ? error.message : String(error)));
        return;
      }
      process.umask(0o077);
      serveFiles(channel, nodeFileSystem);
    });
}

function idOf(text: string): number {
  const id = parseDecimal(text);
  if (id === undefined || id === 0)
    throw new KeyError('BAD_OPTION', `${VERB}: expected the id of a user other than root`);
  return id;
}
