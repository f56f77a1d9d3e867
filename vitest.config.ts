import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// biome-ignore lint/style/noDefaultExport: Vitest reads its configuration from the default export.
export default defineConfig({
  test: {
    // Vitest leaves a core free by default; many tests here wait for a server or a time limit, so that two share a core well.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      // Generous: a busy machine is no failure.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 90_000 } },
      { test: { name: 'packages', include: ['test/packages/**/*.test.ts'], testTimeout: 300_000, hookTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
