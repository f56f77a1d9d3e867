import type { IncomingMessage } from 'node:http';
import { KeyError } from '../errors.ts';
import type { CallLog } from './call-log.ts';
import type { FaultPlan } from './fault-plan.ts';
import { parseFaultRule } from './fault-rule.ts';

export interface DevAnswer {
  readonly status: number;
  readonly json: unknown;
}

export function isDevRoute(target: string): boolean {
  return target === '/_dev' || target.startsWith('/_dev/');
}

/**
 * The endpoint's own controls: `GET PUT DELETE /_dev/faults`, `GET DELETE /_dev/calls`. They are not signed, so a
 * web page must not reach them: neither under a name of its own that resolves to loopback, nor across origins.
 */
export function devRoute(request: IncomingMessage, body: Buffer, faults: FaultPlan, calls: CallLog): DevAnswer {
  if (!isLoopback(request.headers.host) || request.headers.origin !== undefined) {
    return { status: 403, json: { error: 'only for programs on this machine, under a loopback name' } };
  }
  switch (`${request.method} ${request.url}`) {
    case 'GET /_dev/faults':
      return { status: 200, json: faults.list() };
    case 'PUT /_dev/faults':
      return putFaults(body, faults);
    case 'DELETE /_dev/faults':
      faults.clear();
      return { status: 200, json: [] };
    case 'GET /_dev/calls':
      return { status: 200, json: calls.list() };
    case 'DELETE /_dev/calls':
      calls.clear();
      return { status: 200, json: [] };
    default:
      return { status: 404, json: { error: 'expected GET, PUT, DELETE /_dev/faults or GET, DELETE /_dev/calls' } };
  }
}

function putFaults(body: Buffer, faults: FaultPlan): DevAnswer {
  try {
    const json: unknown = JSON.parse(body.toString());
    if (!Array.isArray(json)) return { status: 400, json: { error: 'expected a JSON array of faults' } };
    faults.set(json.map((rule: unknown) => parseFaultRule(rule)));
  } catch (error) {
    const reason = error instanceof KeyError ? error.message : 'expected JSON';
    return { status: 400, json: { error: reason } };
  }
  return { status: 200, json: faults.list() };
}

function isLoopback(host: string | undefined): boolean {
  return /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/i.test(host ?? '');
}
