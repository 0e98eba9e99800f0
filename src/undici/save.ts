/**
 * Importing undici replaces the app's global dispatcher (nodejs/undici#5500). This module, evaluated before
 * undici, notes what was there; `restore.ts`, evaluated after it, puts it back.
 */
export const platformSlot: symbol = Symbol.for('undici.globalDispatcher.1');

/** The major version of the undici that is the platform's. */
export const bundled: number = Number.parseInt(process.versions['undici'] ?? '0', 10);
// From 8 on the platform's own undici shares its slot with ours, and makes its dispatcher on first use only.
if (bundled >= 8) void globalThis.Headers;

/** The dispatcher of the platform's fetch before undici was imported; undefined while it has none yet. */
export const saved: unknown = (globalThis as Record<symbol, unknown>)[platformSlot];
