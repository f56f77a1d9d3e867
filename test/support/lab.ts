/** The tools of the integration tests: a KMS, servers, and their files. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SqlError } from 'mariadb';
import { expect } from 'vitest';
import { childrenOf } from '../../harness/children.ts';
import {
  pluginOptions,
  ScratchServer,
  type ScratchServerParts,
  type ServerOptions,
} from '../../harness/scratch-server.ts';
import { systemClock } from '../../src/cli/system.ts';
import { type DevKms, type DevKmsOptions, startDevKms } from '../../src/dev-kms/index.ts';
import { TEMPLATE } from './global-setup.ts';
import { cleanUp, scratchDirectory } from './scratch.ts';

export const run = promisify(execFile);
export const MASTER_KEY = 'alias/mariadb-encryption';

/** The embedded KMS on loopback, with a master key behind `alias/mariadb-encryption`. */
export async function startKms(options: Partial<DevKmsOptions> = {}): Promise<DevKms> {
  const kms = await startDevKms({ clock: systemClock, aliases: [MASTER_KEY], ...options });
  cleanUp(() => kms.close());
  return kms;
}

/** A stopped server. */
export function newServer(options: ServerOptions, parts: Partial<ScratchServerParts> = {}): ScratchServer {
  const server = new ScratchServer({ directory: scratchDirectory(), options, ...parts });
  server.copyDatabase(TEMPLATE);
  cleanUp(() => server.kill());
  return server;
}

/** A running server with the plugin. */
export async function startServer(
  kms: DevKms,
  options: ServerOptions = {},
  parts: Partial<ScratchServerParts> = {},
): Promise<ScratchServer> {
  const server = newServer(pluginOptions(kms.url, options), parts);
  await server.start();
  return server;
}

/** Runs a statement that must fail; returns the server's text without its number and state. */
export async function sqlError(server: ScratchServer, statement: string): Promise<string> {
  const error = await server.sql(statement).then(
    () => undefined,
    (thrown: SqlError) => thrown,
  );
  expect(error, `expected to fail: ${statement}`).toBeDefined();
  return error?.sqlMessage ?? '';
}

export function keyFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((file) => file.includes('aws-kms'))
    .sort();
}

export function fileBytes(server: ScratchServer, ...path: string[]): Buffer {
  return readFileSync(join(server.datadir, ...path));
}

/** Process ids of the agents that a server started. */
export async function agentsOf(server: ScratchServer): Promise<number[]> {
  return childrenOf(server.pid);
}

/** Operations that KMS has received since `calls.clear()`. */
export function operations(kms: DevKms): string[] {
  return kms.calls.list().map(({ operation }) => operation);
}
