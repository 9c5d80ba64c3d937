import { defineConfig } from 'vitest/config';

/**
 * Another build of the addon for the tests to load. Not NAPI_RS_NATIVE_LIBRARY_PATH itself: vitest's own addons would
 * obey it too.
 */
const addon = process.env['WASI_UDP_TEST_ADDON'];

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.ts'],
    globalSetup: '__test__/support/build-guests.ts',
    // Tests count descriptors and end workers: each file has a process of its own.
    pool: 'forks',
    // What hangs fails; what is slow on a busy machine does not.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    env: addon === undefined ? {} : { NAPI_RS_NATIVE_LIBRARY_PATH: addon },
  },
});
