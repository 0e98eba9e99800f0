import { defineConfig, type ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    // Loopback servers and event-loop stalls do not like to share two cores with many siblings.
    maxWorkers: 2,
  },
});

export default config;
