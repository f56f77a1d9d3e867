import fc from 'fast-check';
import { it } from 'vitest';
import { dataProperties } from '../../fuzz/data-properties.ts';
import { dataSeeds } from '../../fuzz/data-seeds.ts';

it.each(Object.entries(dataProperties(dataSeeds())))(
  'readers of data files keep the property "%s" for a moment of fuzzing',
  async (_, property) => {
    await fc.assert(property, { numRuns: 300 });
  },
);
