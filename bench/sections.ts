import { hotPath } from './hot-path.ts';
import { keyTable } from './key-table.ts';
import type { Section } from './section.ts';

/** In the order in which they run, and in which docs/performance.md has them. */
export const SECTIONS: readonly Section[] = [hotPath, keyTable];
