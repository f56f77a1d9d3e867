import { counted } from '../audit/amounts.ts';
import type { DataKeys } from '../decrypt/data-keys.ts';
import { type VerifiedData, verifyData } from '../decrypt/verify-data.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { auditPlaces, type PlaceOptions } from './audit-places.ts';
import { withAllThreads } from './decrypt/page-threads.ts';
import type { CliIo } from './process-io.ts';
import { progressLine } from './progress-line.ts';

/**
 * Finds the data of the server, and returns a function that decrypts all of it with some keys.
 * @param verb the word before the progress on a terminal
 * @throws KeyError BAD_OPTION
 */
export async function serverData(
  io: CliIo,
  verb: string,
  options: PlaceOptions,
  outside: Surroundings,
  signal: AbortSignal,
): Promise<(keys: DataKeys) => Promise<VerifiedData>> {
  // The stored keys are no subject here, and their directory may not exist yet.
  const { keyfileDir: _, ...about } = options;
  const { places, unseen } = await auditPlaces([], about, outside);
  const { random, clock, files } = outside;
  const show = progressLine(io, clock);
  const progress = (count: number): void => show(() => `${verb}: ${counted(count, 'file')} proved`);
  return async (keys) => {
    const data = await withAllThreads((threads) =>
      verifyData(places, { keys, threads, random, signal, disk: files.data, progress }),
    );
    io.redraw?.('');
    return { ...data, unseen: [...unseen, ...data.unseen] };
  };
}
