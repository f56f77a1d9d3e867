/** The common part of commands that open the keys of a server with the identity of their user. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { KeyError } from '../errors.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import type { Configuration } from '../server/configuration.ts';
import { kmsTarget } from '../server/kms-target.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import { type KeyPlace, namedKeyPlace, readServer } from './read-server.ts';

export interface PlaceOptions extends OptionFileOptions {
  readonly masterKeyId?: string;
  readonly datadir?: string;
  readonly keyfileDir?: string;
  readonly region?: string;
  readonly endpointUrl?: string;
  readonly encryptionContext?: string;
}

export interface KeyOptions extends PlaceOptions {
  readonly keys: string;
}

const CALL_MS = 5_000;

/** As `withKeyPlace`, with the option that chooses some of the keys. */
export function withKeys(command: Command): Command {
  return withKeyPlace(command.option('--keys <ids>', 'these key ids only, such as 1,3-7', ''));
}

/** Adds the options that say where the keys are and how KMS is reached. */
export function withKeyPlace(command: Command): Command {
  return withOptionFiles(command)
    .option('--datadir <directory>', 'override datadir')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir')
    .option('--region <region>', 'override aws_key_management_region')
    .option('--endpoint-url <url>', 'override aws_key_management_endpoint_url')
    .option(
      '--encryption-context <pairs>',
      'override aws_key_management_encryption_context; used for keys without a sidecar',
    );
}

export interface ServerKeys {
  readonly server: Configuration;
  readonly place: KeyPlace;
}

/**
 * Reads the server's options, with those that override where its keys are and how KMS is reached.
 * @throws KeyError BAD_OPTION
 */
export async function readKeyServer(options: PlaceOptions, outside: Surroundings): Promise<Configuration> {
  const variables = {
    master_key_id: options.masterKeyId,
    keyfile_dir: options.keyfileDir && resolve(options.keyfileDir),
    region: options.region,
    endpoint_url: options.endpointUrl,
    encryption_context: options.encryptionContext,
  };
  return await readServer(options, { datadir: options.datadir, variables }, outside);
}

/** @throws KeyError BAD_OPTION, also for a server in mock mode */
export async function serverKeysOf(options: PlaceOptions, outside: Surroundings): Promise<ServerKeys> {
  const server = await readKeyServer(options, outside);
  const place = await namedKeyPlace(server, options.keyfileDir, outside);
  if (!server.isMock) return { server, place };
  throw new KeyError(
    'BAD_OPTION',
    'the server is in mock mode, whose keys protect nothing: this command is for others',
  );
}

/** Connects with the identity of the user who runs the command, also for root. */
export async function connectAsCaller(server: Configuration, outside: Surroundings): Promise<KmsInspector> {
  return await outside.connectKms({ ...kmsTarget(outside, server, CALL_MS), sharedFiles: undefined, as: undefined });
}
