import { type DataLook, lookAtData } from '../data/look.ts';
import { within } from '../kms/retry.ts';
import { dataLocations } from '../server/data-locations.ts';
import type { Examination } from './check.ts';

/** Milliseconds; less than a check's own limit, so that it can report what it has seen. */
const LOOK_MS = 8_000;

/** Finds the keys that the server's data needs: once, for all checks. */
export async function lookOnce(
  { surroundings, configuration, facts }: Examination,
  signal: AbortSignal,
): Promise<DataLook> {
  const { datadir, options } = configuration;
  const { server } = facts;
  const variable = (name: string): string | undefined =>
    server === undefined || server.isRefused ? options.last(name) : server.variables.get(name);
  const locations = dataLocations(datadir, variable);
  const { clock, files } = surroundings;
  facts.look ??= await within(clock, LOOK_MS, (late) => lookAtData(files.data, locations, late), signal);
  return facts.look;
}
