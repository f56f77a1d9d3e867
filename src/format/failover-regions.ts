import { KeyError } from '../errors.ts';
import { problemOfEndpointUrl } from './endpoint-url.ts';
import { REGION } from './region.ts';
import { badOption } from './settings.ts';

export interface FailoverRegion {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
}
/**
 * Parses `aws_key_management_failover_regions`: Regions separated by commas, each optionally with `=URL` for its
 * endpoint; empty means none.
 * @throws KeyError BAD_OPTION
 */
export function parseFailoverRegions(text: string): readonly FailoverRegion[] {
  if (text.trim() === '') return [];
  const known = new Set<string>();
  return text.split(',').map((part) => {
    const [region = '', ...url] = part.trim().split('=');
    if (!REGION.test(region)) {
      throw badOption('failover_regions', 'Regions such as eu-west-1,eu-central-1', part.trim());
    }
    if (known.has(region)) throw badOption('failover_regions', 'each Region once', part.trim());
    known.add(region);
    return { region, endpointUrl: parseEndpoint('failover_regions', url.join('=')) };
  });
}

/** @throws KeyError BAD_OPTION */
export function parseEndpoint(name: string, text: string): string {
  if (text === '') return text;
  const problem = problemOfEndpointUrl(text);
  if (problem !== undefined) throw new KeyError('BAD_OPTION', `aws_key_management_${name}: ${problem}`);
  return text;
}
