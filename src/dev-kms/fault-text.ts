import { badFault, FAULT_KINDS, type FaultRule, parseFaultRule } from './fault-rule.ts';

const NUMBERS: readonly string[] = ['count', 'skip', 'probability', 'status'];
const TEXTS: readonly string[] = ['region', 'message'];
/** The member that the value of a kind stands for; the other kinds take none. */
const VALUE_OF: ReadonlyMap<string, string> = new Map([
  ['latency', 'ms'],
  ['error', 'name'],
  ['wrong-plaintext-length', 'bytes'],
]);

/**
 * Rules from a command line: `OPERATION:KIND[=VALUE][:KIND[=VALUE]…][:count=N][:skip=N][:probability=P][:region=R]`,
 * and for errors `[:status=N][:message=TEXT]`. A message goes last and may hold colons. Several kinds, such as a
 * latency and an error, become several rules for the same calls.
 * @throws KeyError BAD_OPTION
 */
export function parseFaultText(text: string): readonly FaultRule[] {
  const [head, message] = splitMessage(text);
  const [operation = '', ...parts] = head.split(':');
  const shared: Record<string, unknown> = { operation };
  const forErrors: Record<string, unknown> = message === undefined ? {} : { message };
  const kinds: Record<string, unknown>[] = [];
  for (const part of parts) {
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? undefined : part.slice(equals + 1);
    if (FAULT_KINDS.some((kind) => kind === name)) {
      kinds.push({ kind: name, ...valueOfKind(name, value) });
    } else if (NUMBERS.includes(name) || TEXTS.includes(name)) {
      const target = name === 'status' ? forErrors : shared;
      if (Object.hasOwn(target, name)) throw badFault(`${name}: given twice in "${text}"`);
      target[name] = NUMBERS.includes(name) ? number(name, value) : value;
    } else {
      throw badFault(
        `"${part}" is neither a kind (${FAULT_KINDS.join(', ')}) nor a setting (${[...NUMBERS, ...TEXTS].join(', ')})`,
      );
    }
  }
  if (kinds.length === 0) throw badFault(`"${text}" names no kind (${FAULT_KINDS.join(', ')})`);
  if (Object.keys(forErrors).length > 0 && !kinds.some(({ kind }) => kind === 'error')) {
    throw badFault(`status and message belong to an error, and "${text}" has none`);
  }
  return kinds.map((kind) => parseFaultRule({ ...shared, ...kind, ...(kind['kind'] === 'error' ? forErrors : {}) }));
}

function splitMessage(text: string): readonly [string, string?] {
  const marker = ':message=';
  const at = text.indexOf(marker);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + marker.length)];
}

function valueOfKind(kind: string, value: string | undefined): Record<string, unknown> {
  const member = VALUE_OF.get(kind);
  if (member === undefined) {
    if (value !== undefined) throw badFault(`${kind}: takes no value, got "${value}"`);
    return {};
  }
  if (value === undefined || value === '')
    throw badFault(
      `${kind}: expected a value, for example ${kind}=${member === 'name' ? 'ThrottlingException' : '100'}`,
    );
  return { [member]: member === 'name' ? value : number(kind, value) };
}

function number(name: string, value: string | undefined): number {
  if (value === undefined || !/^\d{1,10}(?:\.\d{1,10})?$/.test(value)) {
    throw badFault(`${name}: expected a number, got "${value ?? ''}"`);
  }
  return Number(value);
}
