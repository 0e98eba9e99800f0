import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = defineConfig({
  resolve: {
    // Examples import the package by its name, as users do.
    alias: {
      'steersman/testing': fileURLToPath(new URL('src/testing/index.ts', import.meta.url)),
      steersman: fileURLToPath(new URL('src/index.ts', import.meta.url)),
    },
  },
  test: {
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 20_000,
    // Loopback servers and event-loop stalls do not like to share two cores with many siblings.
    maxWorkers: 2,
  },
});

export default config;
