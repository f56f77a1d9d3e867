/** Pages in use and free ones, which may still be encrypted with an old key version. */
export interface PageCounts {
  used: number;
  free: number;
}

/** Counts encrypted pages by key version. */
export class VersionCounts {
  readonly byVersion = new Map<number, PageCounts>();

  add(version: number, isFree: boolean): void {
    let counts = this.byVersion.get(version);
    if (counts === undefined) {
      counts = { used: 0, free: 0 };
      this.byVersion.set(version, counts);
    }
    count(counts, isFree);
  }
}

export function count(counts: PageCounts, isFree: boolean): void {
  if (isFree) counts.free += 1;
  else counts.used += 1;
}
