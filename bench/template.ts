import { join } from 'node:path';
import { installDatabase } from '../harness/scratch-server.ts';

/** A data directory that servers are copied from. */
export async function installTemplate(directory: string): Promise<string> {
  const template = join(directory, 'template');
  await installDatabase(template);
  return template;
}
