import { counted, size } from '../audit/amounts.ts';
import { type Audit, auditData } from '../audit/audit.ts';
import { KeyError } from '../errors.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { auditPlaces, type PlaceOptions } from './audit-places.ts';
import type { CliIo } from './process-io.ts';
import { progressLine } from './progress-line.ts';

/** Audits the server's data, with progress on a terminal. @throws KeyError BAD_OPTION, TIMEOUT when interrupted */
export async function auditServer(
  options: PlaceOptions,
  outside: Surroundings,
  io: Pick<CliIo, 'redraw' | 'onSignal'>,
): Promise<Audit> {
  const { clock, files } = outside;
  const found = await auditPlaces([], options, outside);
  const interrupted = new AbortController();
  const show = progressLine(io, clock);
  const forget = io.onSignal(() => interrupted.abort(new KeyError('TIMEOUT', 'interrupted')));
  try {
    const audit = await auditData(found.places, {
      disk: files.data,
      clock,
      signal: interrupted.signal,
      progress: (count, bytes) => show(() => `audit: ${counted(count, 'file')}, ${size(bytes)} read`),
    });
    return { files: audit.files, unseen: [...found.unseen, ...audit.unseen] };
  } finally {
    forget();
    io.redraw?.('');
  }
}
