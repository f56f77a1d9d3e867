/** The age of keys, by the dates that their sidecars have. */
import { KeyError } from '../../errors.ts';
import type { KeyName } from '../../format/key-file-name.ts';
import type { KeyStore } from '../../keystore/store.ts';

const HOUR_MS = 3_600_000;
const UNITS = { h: HOUR_MS, d: 24 * HOUR_MS, w: 7 * 24 * HOUR_MS } as const;

export interface Ages {
  /** Keys whose latest version is older. */
  readonly old: readonly number[];
  readonly young: readonly number[];
  /** Keys whose latest version has no date. */
  readonly undated: readonly KeyError[];
}

/** `90d`, `12h`, `4w` in milliseconds. @throws KeyError BAD_OPTION */
export function parseAge(text: string): number {
  const [, count, unit] = /^(\d{1,5})([hdw])$/.exec(text) ?? [];
  const ms = unit === 'h' || unit === 'd' || unit === 'w' ? Number(count) * UNITS[unit] : 0;
  if (ms > 0) return ms;
  throw new KeyError('BAD_OPTION', '--older-than: expected a number of hours, days or weeks, such as 12h, 90d or 13w');
}

/**
 * Sorts keys by the age of their latest stored versions.
 * @param keyIds the keys of the server; one of which nothing is stored here has no date
 * @throws KeyError STORE_UNAVAILABLE
 */
export async function agesOf(
  store: KeyStore,
  keyIds: readonly number[],
  { nowMs, ageMs }: { readonly nowMs: number; readonly ageMs: number },
): Promise<Ages> {
  const latest = new Map<number, KeyName>();
  for (const name of (await store.list()).stored)
    if (name.version > (latest.get(name.id)?.version ?? 0)) latest.set(name.id, name);
  const [old, young, undated]: [number[], number[], KeyError[]] = [[], [], []];
  for (const id of keyIds) {
    const name = latest.get(id);
    const created = name === undefined ? undefined : await createdMs(store, name);
    if (typeof created !== 'number') undated.push(withoutDate(id, name, created, store.place));
    else if (nowMs - created >= ageMs) old.push(id);
    else young.push(id);
  }
  return { old, young, undated };
}

/** @returns the time of creation; a text: the reason why it is not known */
async function createdMs(store: KeyStore, name: KeyName): Promise<number | string> {
  try {
    const { sidecar, sidecarProblem } = await store.read(name);
    const ms = Date.parse(sidecar?.created ?? '');
    return Number.isNaN(ms) ? (sidecarProblem?.message ?? 'it has no sidecar') : ms;
  } catch (thrown) {
    if (thrown instanceof KeyError && thrown.code !== 'STORE_UNAVAILABLE') return thrown.message;
    throw thrown;
  }
}

function withoutDate(id: number, name: KeyName | undefined, reason: string | undefined, place: string): KeyError {
  const found = name === undefined ? `no file of it is in ${place}` : reason;
  const version = name === undefined ? '' : ` version ${name.version}`;
  return new KeyError('KEY_UNKNOWN', `the age of key ${id}${version} is not known: ${found}`, {
    hint: `rotate it whatever its age: rotate --key-id ${id}, or all keys: rotate --all`,
  });
}
