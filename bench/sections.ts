import { agent } from './agent.ts';
import { audit } from './audit.ts';
import { cost } from './cost.ts';
import { hotPath } from './hot-path.ts';
import { keyTable } from './key-table.ts';
import { pageEncryption } from './page-encryption.ts';
import { rotation } from './rotation.ts';
import { sealedCache } from './sealed-cache.ts';
import type { Section } from './section.ts';
import { smallBuffers } from './small-buffers.ts';
import { startUp } from './start-up.ts';
import { sysbench } from './sysbench.ts';
import { ways } from './ways.ts';

/** In the order in which they run, and in which docs/performance.md has them. */
export const SECTIONS: readonly Section[] = [
  hotPath,
  pageEncryption,
  smallBuffers,
  sysbench,
  keyTable,
  startUp,
  sealedCache,
  agent,
  rotation,
  ways,
  audit,
  cost,
];
