import { type ChildProcess, spawn } from 'node:child_process';
import { isSea } from 'node:sea';
import { Command } from 'commander';
import { KeyError } from '../errors.ts';
import { parseDecimal } from '../ids.ts';
import { CarefulFileSystem } from '../keystore/careful-file-system.ts';
import { type Channel, FileServiceClient, type RemoteFileSystem, serveFiles } from '../keystore/file-service.ts';
import { type FileSystem, nodeFileSystem } from '../keystore/file-system.ts';
import type { PlaceOwner } from '../keystore/place-owner.ts';
import { becomeUser } from './server-user.ts';

const VERB = 'file-service';

/** Key directories and backups, as the commands see them. */
export function commandFileSystem(): FileSystem {
  return process.getuid?.() === 0 ? new CarefulFileSystem(actAs) : nodeFileSystem;
}

/** This program once more, without anything that this process knows. */
function actAs({ uid, gid }: PlaceOwner): RemoteFileSystem {
  const program = isSea() ? [] : [process.argv[1] ?? ''];
  const child = spawn(process.execPath, [...program, VERB, `${uid}`, `${gid}`], {
    env: {},
    cwd: '/',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization: 'advanced',
  });
  return new FileServiceClient(channelTo(child), `user ${uid}`);
}

/** It holds this process up only while an answer is awaited. */
function channelTo(child: ChildProcess): Channel {
  let awaited = 0;
  child.unref();
  child.channel?.unref();
  return {
    send: (message) => {
      awaited += 1;
      child.channel?.ref();
      // What cannot be sent is told by the end of the process.
      child.send(message as object, () => undefined);
    },
    onMessage: (listener) =>
      child.on('message', (message) => {
        awaited -= 1;
        if (awaited === 0) child.channel?.unref();
        listener(message);
      }),
    onClose: (listener) => {
      child.once('error', listener);
      child.once('disconnect', listener);
    },
  };
}

/** `mariadb-aws-kms file-service`, which root's commands start. */
export function fileServiceCommand(): Command {
  return new Command(VERB)
    .argument('<uid>')
    .argument('<gid>')
    .action((uid: string, gid: string) => {
      if (process.send === undefined) throw new KeyError('BAD_OPTION', `${VERB} is for this program itself`);
      becomeUser(process, { uid: idOf(uid), gid: parseDecimal(gid) ?? 0 });
      process.umask(0o077);
      process.once('disconnect', () => process.exit(0));
      serveFiles(
        {
          send: (message) => void process.send?.(message),
          onMessage: (listener) => process.on('message', listener),
          onClose: (listener) => process.once('disconnect', listener),
        },
        nodeFileSystem,
      );
    });
}

function idOf(text: string): number {
  const id = parseDecimal(text);
  if (id === undefined || id === 0)
    throw new KeyError('BAD_OPTION', `${VERB}: expected the id of a user other than root`);
  return id;
}
