import { type Report, warning } from '../finding.ts';
import type { Configuration } from '../server/configuration.ts';

/** As in plugin/client/limit.h: SQL cannot create keys beyond this many versions for each second of start_timeout. */
export const VERSIONS_PER_START_SECOND = 100;
/** As in plugin/client/limit.c: the error log warns from this share of the limit on. */
const WARN_FROM = 0.8;

/**
 * Warns about the number of key versions: any user who may create a table adds keys, and a start must load them all.
 */
export function limitReports(
  { startTimeoutSeconds }: Pick<Configuration, 'startTimeoutSeconds'>,
  versions: number,
): readonly Report[] {
  const limit = startTimeoutSeconds * VERSIONS_PER_START_SECOND;
  if (versions < limit * WARN_FROM) return [];
  const rule = `${VERSIONS_PER_START_SECOND} for each second of aws_key_management_start_timeout`;
  const found =
    versions < limit
      ? `${versions} key versions: at ${limit} (${rule}) statements create no more keys`
      : `${versions} key versions: statements create no more keys (${limit} allowed: ${rule})`;
  const needed = Math.ceil(versions / VERSIONS_PER_START_SECOND / WARN_FROM) + 1;
  return [
    warning(
      found,
      `list the key ids that are wanted: aws_key_management_key_ids = 1-2,FIRST-LAST, those may always be created; or aws_key_management_start_timeout = ${needed}`,
    ),
  ];
}
